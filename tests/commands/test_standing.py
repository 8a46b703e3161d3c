"""`doctor --online`: each hosted service is asked once, by a request that costs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from gen_searcher.commands import doctor, standing
from gen_searcher.commands.standing import Said, standings
from gen_searcher.config import load
from gen_searcher.config.root import RunConfig
from gen_searcher.testing.loopback import Answer, Loopback

KEY = "canary-7731-key"
SERPER = "gen_searcher.tools.providers.serper.Serper"
TAVILY = "gen_searcher.tools.providers.tavily.Tavily"
MODELS = json.dumps({"data": [{"id": "judge-8b"}]}).encode()


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key").write_text(KEY)
    return f"file:{tmp_path}/key"


def config(tmp_path: Path, *words: str) -> RunConfig:
    return load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", *words])


def searched_by(target: str, url: str, key: str) -> list[str]:
    return [f"search.{kind}={{_target_: {target}, base_url: '{url}', key: '{key}'}}" for kind in ("search", "images")]


def by_place(said: list[Said]) -> Mapping[str, Said]:
    return {one.at: one for one in said}


async def test_local_plugs_are_nobody_to_ask(tmp_path: Path) -> None:
    assert await standings(config(tmp_path)) == []


async def test_serper_is_asked_once_for_both_searches_and_says_what_is_left(tmp_path: Path, key: str) -> None:
    async with Loopback(Answer(body=b'{"balance": 2492, "rateLimit": 50}')) as server:
        (said,) = await standings(config(tmp_path, *searched_by(SERPER, server.base_url, key)))
    assert said == Said(at="search.search, search.images", words="accepted, 2,492 requests left")
    (asked,) = server.requests
    assert (asked.method, asked.target, asked.headers["X-API-KEY"]) == ("GET", "/account", KEY)


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (
            {"key": {"usage": 150, "limit": 1000}, "account": {"plan_usage": 500, "plan_limit": 15000}},
            "850 credits left",
        ),
        (
            {"key": {"usage": 150, "limit": None}, "account": {"plan_usage": 500, "plan_limit": 15000}},
            "14,500 credits left",
        ),
        (
            {"key": {"usage": 150, "limit": None}, "account": {"plan_usage": 1, "plan_limit": None}},
            "does not say what is left",
        ),
    ],
)
async def test_tavily_says_what_the_key_and_the_plan_leave(
    tmp_path: Path, key: str, usage: dict[str, object], words: str
) -> None:
    async with Loopback(Answer(body=json.dumps(usage).encode())) as server:
        (said,) = await standings(config(tmp_path, *searched_by(TAVILY, server.base_url, key)))
    assert not said.is_problem
    assert said.words.endswith(words)
    assert server.requests[0].target == "/usage"
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("answer", "found", "cure"),
    [
        (Answer(body=b'{"balance": 0}'), "no requests are left on the account", "top the account up"),
        (Answer(status=403, body=b'{"message": "Unauthorized."}'), "status 403: Unauthorized", "put a valid key"),
        (Answer(body=b'{"message": "Unauthorized."}'), "status 200: Unauthorized", "put a valid key"),
        (Answer(status=500, body=b""), "status 500", "the service itself may be down"),
        (Answer(body=b"", is_silent=True), "no answer within 0.2 s", "correct its address (base_url)"),
        (Answer(status=404, body=b"no such page"), "status 404", "correct the setting model, base_url or key"),
    ],
    ids=["spent", "wrong key", "wrong key, said politely", "down", "silent", "another server"],
)
async def test_a_service_that_would_not_serve_is_a_problem_with_its_cure(
    tmp_path: Path, key: str, answer: Answer, found: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer.is_silent:
        monkeypatch.setattr(standing, "TIMEOUT_S", 0.2)
    async with Loopback(answer) as server:
        (said,) = await standings(config(tmp_path, *searched_by(SERPER, server.base_url, key)))
    assert said.is_problem
    assert found in said.words
    assert cure in said.words.partition(found)[2]


async def test_a_busy_service_is_no_problem(tmp_path: Path, key: str) -> None:
    async with Loopback(Answer(status=429, body=b"{}")) as server:
        (said,) = await standings(config(tmp_path, *searched_by(SERPER, server.base_url, key)))
    assert not said.is_problem
    assert "not checked: serper: status 429" in said.words


async def test_two_judges_of_one_server_are_one_request_for_its_models(tmp_path: Path, key: str) -> None:
    async with Loopback(Answer(body=MODELS)) as server:
        words = [f"judges.image.server.base_url='{server.base_url}'", f"judges.image.server.key='{key}'"]
        served = await standings(config(tmp_path, "judge=openai", *words, "judges.image.server.model=judge-8b"))
        assert [one.at for one in served] == ["judges.image.server, judges.text.server"]
        assert served[0].words.startswith("accepted, the model judge-8b is there")
        assert len(server.requests) == 1
        (gone,) = await standings(config(tmp_path, "judge=openai", *words))
    assert gone.is_problem
    assert "the model 'gpt-4.1' is not served there; served are judge-8b; correct the setting model" in gone.words


@pytest.mark.parametrize(
    ("generator", "answer", "target", "words"),
    [
        ("generator=openai", Answer(body=b'{"data": [{"id": "gpt-image-2.5-sunburst"}]}'), "/models", "is there"),
        ("generator=nano_banana_pro", Answer(body=b'{"name": "x"}'), "/models/gemini-3-pro-image", "is there"),
    ],
)
async def test_a_hosted_image_model_is_looked_up_and_draws_nothing(
    tmp_path: Path, key: str, generator: str, answer: Answer, target: str, words: str
) -> None:
    async with Loopback(answer) as server:
        cfg = config(tmp_path, generator, f"++generator.base_url='{server.base_url}'", f"generator.key='{key}'")
        (said,) = await standings(cfg)
    assert (said.at, said.is_problem) == ("generator", False)
    assert words in said.words
    assert [(asked.method, asked.target) for asked in server.requests] == [("GET", target)]


async def test_your_own_services_are_asked_whether_they_are_there(tmp_path: Path) -> None:
    async with Loopback(Answer(body=b'{"engines": [{}, {}], "status": "healthy"}')) as server:
        found = by_place(
            await standings(
                config(
                    tmp_path,
                    "search=searxng",
                    f"search.search.base_url='{server.base_url}'",
                    f"search.images.base_url='{server.base_url}'",
                    "generator=reference_service",
                    f"generator.url='{server.base_url}'",
                )
            )
        )
    assert found["search.search, search.images"].words.startswith("answers, 2 engines")
    assert found["generator"].words == "answers: healthy"
    assert {asked.target for asked in server.requests} == {"/config", "/health"}


@pytest.mark.parametrize(
    ("choice", "name"), [("search=brave", "Brave"), ("search=exa", "Exa"), ("generator=seedream", "ArkImages")]
)
async def test_where_no_call_is_free_none_is_made_and_that_is_said(
    tmp_path: Path, choice: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("BRAVE_API_KEY", "EXA_API_KEY", "ARK_API_KEY"):
        monkeypatch.setenv(variable, KEY)
    (said,) = await standings(config(tmp_path, choice))
    assert said.words == f"not checked: {name} has no free call that is known here"


def test_the_doctor_says_when_there_is_nobody_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(config(tmp_path, "doctor.online=true")) == 0
    assert f"{standing.PREFACE}\n  there is none\n" in capsys.readouterr().out


def test_the_doctor_shows_what_was_asked_and_no_key(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = searched_by(SERPER, "http://127.0.0.1:9", key)  # the port of `discard`: nobody listens
    assert doctor.run(config(tmp_path, *words, "doctor.online=true")) == 3
    shown = capsys.readouterr().out
    assert standing.PREFACE in shown
    assert "search.search, search.images: serper: no connection" in shown.partition("cannot start")[2]
    assert KEY not in shown
