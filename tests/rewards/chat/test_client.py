"""A reply is a verdict or a typed error; never a default."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.config.rewards import ChatServer
from gen_searcher.config.secrets import Secret
from gen_searcher.errors import (
    JudgeError,
    JudgeGone,
    JudgeInvalid,
    JudgeOverloaded,
    JudgeRefused,
    JudgeUnavailable,
    UserError,
    WorldError,
)
from gen_searcher.rewards.chat.client import REPLY_CHARS, Answer, ChatClient
from gen_searcher.rewards.chat.question import Question, picture
from gen_searcher.rewards.chat.verdicts import (
    IMAGE_SCHEMA,
    ImageVerdict,
    read_image_verdict,
    read_text_verdict,
)
from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion, problem

GOOD = '{"rationale": "r", "faithfulness": 1, "visual_correctness": 0.5, "text_accuracy": null, "aesthetics": 0}'
QUESTION = Question(system="s", parts=["look"], name="picture_verdict", schema=IMAGE_SCHEMA)


class Script:
    """Replies in order, the last one for ever."""

    def __init__(self, *replies: ChatReply) -> None:
        self.replies = replies
        self.asked = 0

    async def __call__(self, request: ChatRequest) -> ChatReply:
        self.asked += 1
        return self.replies[min(self.asked, len(self.replies)) - 1]


class Run:
    """One question to a scripted server."""

    def __init__(self, *replies: ChatReply, **settings: object) -> None:
        self.script = Script(*replies)
        self.settings = {"model": "m", "tries": 3, **settings}
        self.waits_s: list[float] = []
        self.requests: Sequence[ChatRequest] = ()

    async def ask(self) -> Answer[ImageVerdict]:
        async with LocalChatServer(self.script) as server:
            chat = ChatServer.model_validate({"base_url": server.base_url, **self.settings})
            client = ChatClient(chat, pause=self._pause)
            self.requests = server.requests
            try:
                return await client.ask(QUESTION, read_image_verdict)
            finally:
                await client.close()

    async def _pause(self, wait_s: float) -> None:
        self.waits_s.append(wait_s)


async def test_a_verdict_comes_with_its_model_and_its_price() -> None:
    run = Run(
        completion(GOOD, prompt_tokens=1000, cached_tokens=600, completion_tokens=50),
        usd_per_m_input=2.0,
        usd_per_m_cached_input=0.5,
        usd_per_m_output=8.0,
    )
    answer = await run.ask()
    assert answer.verdict.parts == {
        "faithfulness": 1.0,
        "visual_correctness": 0.5,
        "text_accuracy": None,
        "aesthetics": 0.0,
    }
    assert answer.model == "local-judge-2026-11-01"
    assert answer.cost_usd == pytest.approx((400 * 2.0 + 600 * 0.5 + 50 * 8.0) / 1e6)
    assert answer.tries == 1


BAD = [
    "The picture is fine, I would say 1.",
    GOOD[:-20],
    GOOD.replace("0.5", "0.6"),
    GOOD.replace("0.5", '"0.5"'),
    GOOD.replace("0.5", "NaN"),
    GOOD.replace("0.5", "2"),
    GOOD.replace("0.5", "true"),
    GOOD.replace("0.5", "null"),
    GOOD[:-1] + ', "overall": 1}',
    GOOD.replace('"aesthetics": 0', '"beauty": 0'),
    f"```json\n{GOOD}\n```",
    "[]",
]


@pytest.mark.fault(36)
@pytest.mark.parametrize("text", BAD)
async def test_what_is_no_verdict_is_asked_again_with_another_seed_and_paid_for_twice(text: str) -> None:
    run = Run(completion(text, completion_tokens=100), completion(GOOD, completion_tokens=100), usd_per_m_output=10.0)
    answer = await run.ask()
    assert answer.tries == 2
    assert answer.cost_usd == pytest.approx(2 * 100 * 10.0 / 1e6)
    assert [request.body["seed"] for request in run.requests] == [0, 1]


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    "reply",
    [
        *map(completion, BAD),
        completion(None),
        completion(GOOD, finish_reason="length"),
        ChatReply(body="<html>busy</html>"),
        ChatReply(body='{"error": {"message": "oops"}}'),
        ChatReply(body='{"model": "m", "choices": []}'),
    ],
)
async def test_what_stays_no_verdict_is_an_error_after_all_tries(reply: ChatReply) -> None:
    run = Run(reply)
    with pytest.raises(JudgeInvalid):
        await run.ask()
    assert run.script.asked == 3


@pytest.mark.parametrize(
    "text", ["1", '{"score": 0.8, "rationale": ""}', '{"score": "1", "rationale": ""}', '{"score": 1}']
)
def test_a_text_score_off_the_scale_is_no_verdict(text: str) -> None:
    with pytest.raises(JudgeInvalid):
        read_text_verdict(text)


MODERATED = {
    "error": {
        "code": 403,
        "message": "m requires moderation and your input was flagged",
        "metadata": {"reasons": ["violence"], "flagged_input": "a battle...", "provider_name": "p"},
    }
}
FLAGGED = ChatReply(body=json.dumps(MODERATED), status=403)
"""As OpenRouter says it."""


@pytest.mark.parametrize(
    "reply",
    [
        completion(None, refusal="I cannot look at this."),
        completion("", finish_reason="content_filter"),
        problem(400, code="content_policy_violation", message="unsafe"),
        problem(403, code="content_filter", message="unsafe"),
        FLAGGED,
    ],
)
async def test_a_refusal_is_not_asked_again(reply: ChatReply) -> None:
    run = Run(reply)
    with pytest.raises(JudgeRefused):
        await run.ask()
    assert run.script.asked == 1


async def test_a_busy_server_is_given_the_time_it_asks_for() -> None:
    busy = problem(429, code="rate_limit_exceeded", message="slow down", headers={"Retry-After": "7"})
    run = Run(busy, problem(503, code=None, message="later"), completion(GOOD), retry_base_s=2.0)
    assert (await run.ask()).tries == 3
    assert run.waits_s == [7.0, 4.0]


async def test_a_server_that_asks_for_too_much_loses_the_attempt_at_once() -> None:
    run = Run(problem(429, code=None, message="", headers={"Retry-After": "3600"}), retry_max_s=30.0)
    with pytest.raises(JudgeOverloaded) as caught:
        await run.ask()
    assert caught.value.retry_after_s == 3600.0
    assert run.script.asked == 1
    assert pickle.loads(pickle.dumps(caught.value)).retry_after_s == 3600.0


@pytest.mark.parametrize("status", [500, 502, 504, 408])
async def test_a_broken_server_is_tried_again_with_growing_pauses(status: int) -> None:
    run = Run(ChatReply(body="oops", status=status), retry_base_s=1.0)
    with pytest.raises(JudgeUnavailable, match=str(status)):
        await run.ask()
    assert run.waits_s == [1.0, 2.0]


async def test_nobody_listening_is_unavailable() -> None:
    server = ChatServer(base_url="http://127.0.0.1:9/v1", model="m", tries=1)
    client = ChatClient(server)
    with pytest.raises(JudgeUnavailable):
        await client.ask(QUESTION, read_image_verdict)
    await client.close()


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (problem(404, code="model_not_found", message="The model `m` does not exist"), "'m' is not served"),
        (problem(404, code=404, message="The model `m` does not exist."), "'m' is not served"),
        (problem(410, code=None, message="gone"), "'m' is not served"),
        (problem(400, code="model_not_found", message="m"), "'m' is not served"),
        (problem(401, code="invalid_api_key", message="Incorrect key: sk-canary"), "refuses the judge's key"),
        (
            ChatReply(body='{"error": {"code": 403, "metadata": {"provider": "p"}}}', status=403),
            "refuses the judge's key",
        ),
        (ChatReply(body='{"error": {"code": 403, "metadata": "reasons"}}', status=403), "refuses the judge's key"),
        (problem(402, code=None, message="pay"), "credit"),
        (problem(429, code="insufficient_quota", message="quota"), "credit"),
    ],
)
async def test_a_judge_that_will_not_come_back_ends_the_run_with_code_3(reply: ChatReply, said: str) -> None:
    run = Run(reply)
    with pytest.raises(JudgeGone, match=said) as caught:
        await run.ask()
    assert isinstance(caught.value, UserError)
    assert not isinstance(caught.value, WorldError)
    assert caught.value.exit_code == 3
    assert "sk-canary" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).exit_code == 3
    assert run.script.asked == 1


@pytest.mark.parametrize(("status", "passes"), [(400, False), (413, False), (422, False), (409, True), (302, True)])
async def test_a_question_that_cannot_be_asked_is_lost_at_once_and_for_good(status: int, passes: bool) -> None:
    run = Run(problem(status, code="invalid_image", message="too large"))
    with pytest.raises(JudgeError, match="too large") as caught:
        await run.ask()
    assert run.script.asked == 1
    assert caught.value.passes is passes


async def test_a_price_that_cannot_be_known_is_not_zero() -> None:
    free = json.dumps({"model": "m", "choices": [{"message": {"content": GOOD}}]})
    assert (await Run(ChatReply(body=free)).ask()).cost_usd == 0.0
    with pytest.raises(JudgeInvalid, match="price"):
        await Run(ChatReply(body=free), usd_per_m_input=1.0).ask()


async def test_the_key_is_sent_and_kept_nowhere(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-canary\n")
    run = Run(completion(GOOD), key=Secret(f"file:{tmp_path / 'key'}"))
    await run.ask()
    assert [request.authorization for request in run.requests] == ["Bearer sk-canary"]
    assert "sk-canary" not in repr(vars(run)["settings"])


async def test_the_reply_is_kept_word_for_word_and_stands_in_the_judgement() -> None:
    said = GOOD.replace('"r"', '"because of \\u00e9"')
    answer = await Run(completion("nonsense"), completion(said)).ask()
    assert answer.reply == said
    made = answer.judgement("image", score=0.5, parts={}, rationale="r", prompt_sha256="")
    assert made.reply == said


async def test_a_long_reply_is_cut_and_no_part_of_a_key_is_left_at_the_cut(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-canary-of-many-letters\n")
    before = GOOD.index('"r"') + 1
    room = REPLY_CHARS - before - 10  # the key begins ten characters before the cut
    said = GOOD.replace('"r"', f'"{"x" * room}sk-canary-of-many-letters{"y" * 100}"')
    answer = await Run(completion(said), key=Secret(f"file:{tmp_path / 'key'}")).ask()
    assert len(answer.reply) == REPLY_CHARS
    assert "sk-" not in answer.reply
    assert answer.reply.startswith(GOOD[:before] + "xxx")


async def test_the_request_asks_for_a_strict_schema_with_enums() -> None:
    run = Run(completion(GOOD))
    await run.ask()
    wanted = run.requests[0].body["response_format"]["json_schema"]
    assert wanted["strict"] is True
    assert wanted["schema"]["additionalProperties"] is False
    assert wanted["schema"]["properties"]["faithfulness"]["enum"] == [0, 0.5, 1]
    assert wanted["schema"]["properties"]["text_accuracy"]["enum"] == [0, 0.5, 1, None]
    assert set(wanted["schema"]["required"]) == set(wanted["schema"]["properties"])


def test_a_large_picture_is_sent_smaller_and_a_small_one_as_it_is() -> None:
    sizes: list[tuple[int, int]] = []
    for width in (3000, 100):
        part = picture(Image.new("RGB", (width, 50), "red"), max_side_px=1000)
        request = ChatRequest(
            body={"messages": [{}, {"content": [{"type": "image_url", "image_url": {"url": part.data_url}}]}]},
            authorization="",
        )
        sizes.append(request.pictures[0].size)
    assert sizes == [(1000, 17), (100, 50)]
