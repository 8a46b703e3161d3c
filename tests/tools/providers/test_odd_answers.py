"""What single providers are known to do differently."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_searcher.config.secrets import Secret
from gen_searcher.errors import ConfigError, ProviderDown, ProviderInvalid, ProviderOverloaded, ProviderRefused, Refusal
from gen_searcher.ledger.payload import pack_lost, unpack_lost
from gen_searcher.testing.loopback import Answer, Loopback
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.providers.brave import Brave, shortened, wait_as_limited
from gen_searcher.tools.providers.exa import Exa
from gen_searcher.tools.providers.jina import JinaReader
from gen_searcher.tools.providers.searxng import SearXNG
from gen_searcher.tools.providers.serper import Serper
from gen_searcher.tools.providers.tavily import Tavily
from gen_searcher.types import Lost

RECORDED = Path(__file__).with_name("recorded")


@pytest.fixture
def key(tmp_path: Path) -> Secret:
    (tmp_path / "key").write_text("k3y\n")
    return Secret(f"file:{tmp_path}/key")


async def test_serper_asks_as_documented_and_skips_what_has_no_address(key: Secret) -> None:
    async with Loopback(Answer(body=(RECORDED / "serper_search.json").read_bytes())) as server:
        serper = Serper(key=key, base_url=server.base_url, country="us")
        hits = await serper.search("flag of velland", limit=10)
        await serper.close()
    sent = server.requests[0]
    assert (sent.method, sent.target) == ("POST", "/search")
    assert sent.headers["X-API-KEY"] == "k3y"
    assert sent.fields == {"q": "flag of velland", "num": 10, "gl": "us"}
    assert [hit.url for hit in hits] == [
        "https://atlas.example/velland",
        "https://flags.example/north?page=2",
        "https://bare.example/",
    ]
    assert (hits[2].title, hits[2].snippet) == ("", "")


@pytest.mark.parametrize("status", [200, 400, 403])
async def test_spent_credits_are_a_refusal_under_any_status(key: Secret, status: int) -> None:
    async with Loopback(Answer(status=status, body=b'{"message": "Not enough credits", "statusCode": 400}')) as server:
        serper = Serper(key=key, base_url=server.base_url)
        with pytest.raises(ProviderRefused, match=r"serper: status .*Not enough credits") as caught:
            await serper.search("x", limit=1)
        await serper.close()
    assert caught.value.refusal is Refusal.QUOTA
    assert caught.value.stage == "search"


async def test_half_a_character_in_an_error_s_words_does_not_reach_the_ledger(key: Secret) -> None:
    async with Loopback(Answer(status=422, body=b'{"message": "no \\ud83d"}')) as server:
        serper = Serper(key=key, base_url=server.base_url)
        with pytest.raises(ProviderInvalid) as caught:
            await serper.search("x", limit=1)
        await serper.close()
    lost = Lost(task_id="t", seed=0, stage=caught.value.stage, error=caught.value.message)
    assert unpack_lost(pack_lost(lost)).error == "serper: status 422: no ?"


async def test_results_that_lost_their_addresses_are_another_form_and_not_nothing(key: Secret) -> None:
    async with Loopback(Answer(body=b'{"organic": [{"title": "a", "href": "https://a.example"}, 5]}')) as server:
        serper = Serper(key=key, base_url=server.base_url)
        with pytest.raises(ProviderInvalid, match="none of 2 results has an address"):
            await serper.search("x", limit=1)
        await serper.close()


async def test_brave_says_when_a_spent_window_opens_again(key: Secret) -> None:
    headers = {"X-RateLimit-Remaining": "1, 0", "X-RateLimit-Reset": "1, 1419704"}
    async with Loopback(Answer(status=429, body=b'{"type": "ErrorResponse"}', headers=headers)) as server:
        brave = Brave(key=key, base_url=server.base_url)
        with pytest.raises(ProviderOverloaded) as caught:
            await brave.search_images("x", limit=1)
        await brave.close()
    assert caught.value.retry_after_s == 1_419_704
    assert wait_as_limited({"X-RateLimit-Remaining": "0, 5", "X-RateLimit-Reset": "1, 99"}) == 1.0
    assert wait_as_limited({"X-RateLimit-Remaining": "0, x", "X-RateLimit-Reset": "1, 99"}) is None
    assert wait_as_limited({"Retry-After": "3", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}) == 3.0


def test_brave_gets_no_more_words_and_characters_than_it_takes() -> None:
    assert len(shortened("word " * 80).split()) == 50
    assert len(shortened("x" * 900)) == 400


@pytest.mark.parametrize("status", [432, 433])
async def test_tavily_has_two_statuses_of_its_own_for_a_spent_plan(key: Secret, status: int) -> None:
    body = b'{"detail": {"error": "This request exceeds your plan\'s set usage limit."}}'
    async with Loopback(Answer(status=status, body=body)) as server:
        tavily = Tavily(key=key, base_url=server.base_url)
        with pytest.raises(ProviderRefused, match="usage limit") as caught:
            await tavily.search("x", limit=1)
        await tavily.close()
    assert caught.value.refusal is Refusal.QUOTA


async def test_exa_without_pictures_found_none_and_with_strange_results_failed(key: Secret) -> None:
    bare = Answer(body=b'{"results": [{"title": "a", "url": "https://a.example/", "image": null}]}')
    async with Loopback(bare, Answer(body=b'{"results": [{"title": "a"}]}')) as server:
        exa = Exa(key=key, base_url=server.base_url)
        assert await exa.search_images("x", limit=5) == []
        with pytest.raises(ProviderInvalid, match="has an address"):
            await exa.search_images("x", limit=5)
        await exa.close()


async def test_searxng_without_results_from_engines_that_did_not_answer_is_down() -> None:
    silent = b'{"query": "x", "results": [], "unresponsive_engines": [["google", "Suspended: too many requests"]]}'
    async with Loopback(Answer(body=silent), Answer(status=403, body=b"<html>Forbidden</html>")) as server:
        searxng = SearXNG(base_url=server.base_url)
        with pytest.raises(ProviderDown, match=r"engines did not answer.*google"):
            await searxng.search("x", limit=1)
        with pytest.raises(ProviderRefused, match=r"list json under search\.formats"):
            await searxng.search("x", limit=1)
        await searxng.close()
    assert server.requests[0].query == {"q": "x", "format": "json", "categories": "general", "pageno": "1"}


@pytest.mark.parametrize("status", [400, 403])
async def test_jina_repeats_addresses_whose_words_are_not_about_our_account_or_key(status: int) -> None:
    said = b'{"message": "Forbidden: https://newbalance-classics.example/billing is blocked, invalid token"}'
    async with Loopback(Answer(status=status, body=said)) as server:
        jina = JinaReader(base_url=server.base_url)
        with pytest.raises(Refused, match="cannot read this page"):
            await jina.read("https://newbalance-classics.example/billing")
        await jina.close()


async def test_a_wall_before_jina_is_not_taken_for_a_page_s_refusal() -> None:
    async with Loopback(Answer(status=403, body=b"<html>Attention Required!</html>")) as server:
        jina = JinaReader(base_url=server.base_url)
        with pytest.raises(ProviderInvalid, match="status 403"):
            await jina.read("https://a.example/")
        await jina.close()


@pytest.mark.parametrize(("status", "refusal"), [(401, Refusal.KEY), (402, Refusal.QUOTA)])
async def test_jina_says_by_its_status_that_the_key_or_the_account_is_refused(status: int, refusal: Refusal) -> None:
    async with Loopback(Answer(status=status, body=b'{"message": "no"}')) as server:
        jina = JinaReader(base_url=server.base_url)
        with pytest.raises(ProviderRefused) as caught:
            await jina.read("https://a.example/")
        await jina.close()
    assert caught.value.refusal is refusal


async def test_jina_tells_a_page_that_fails_from_a_service_that_fails() -> None:
    def warned(words: str) -> Answer:
        return Answer(body=b'{"code": 200, "data": {"content": "x", "warning": "%s"}}' % words.encode())

    answers = (
        warned("Target URL returned error 403: Forbidden"),
        Answer(status=422, body=b'{"code": 422, "message": "Domain could not be resolved"}'),
        Answer(body=b'{"code": 200, "data": {"title": "t"}}'),
        warned("This page maybe not yet fully loaded"),
    )
    async with Loopback(*answers) as server:
        jina = JinaReader(base_url=server.base_url)
        with pytest.raises(Refused, match="status 403"):
            await jina.read("http://a.example/b?c=d&e=%20f#g")
        with pytest.raises(Refused, match="cannot read this page"):
            await jina.read("http://a.example/")
        with pytest.raises(ProviderInvalid, match="no 'content'"):
            await jina.read("http://a.example/")
        page = await jina.read("http://a.example/")
        await jina.close()
    assert page is not None
    assert (page.url, page.text) == ("http://a.example/", "x")
    assert server.requests[0].target == "/http://a.example/b?c=d&e=%20f"
    assert "Authorization" not in server.requests[0].headers


async def test_a_key_that_fits_no_header_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k3y\nsecond line")
    async with Loopback(Answer(body=b"{}")) as server:
        serper = Serper(key=Secret(f"file:{tmp_path}/key"), base_url=server.base_url)
        with pytest.raises(ConfigError, match="holds characters that no HTTP header takes") as caught:
            await serper.search("x", limit=1)
        await serper.close()
    assert "k3y" not in str(caught.value)
    assert server.requests == []


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="searxng: base_url 'localhost:8080' is not an http"):
        SearXNG(base_url="localhost:8080")
