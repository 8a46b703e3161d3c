"""Every shipped provider keeps the contract, against a server that speaks its protocol with made-up content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from gen_searcher.config.agent import FetchConfig
from gen_searcher.config.secrets import Secret
from gen_searcher.protocols import ImageSearchProvider, PageReader, SearchProvider
from gen_searcher.testing.provider_contract import (
    ContractBroken,
    Result,
    Setup,
    check_fetching_reader,
    check_image_search,
    check_reader,
    check_search,
)
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.providers.brave import Brave
from gen_searcher.tools.providers.exa import Exa
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.providers.jina import JinaReader
from gen_searcher.tools.providers.searxng import SearXNG
from gen_searcher.tools.providers.serper import Serper
from gen_searcher.tools.providers.tavily import Tavily
from gen_searcher.web import Hit, ImageHit, Page

RECORDED = Path(__file__).with_name("recorded")
KEY = "k3y-that-must-stay-secret"
KEYED = {"serper": Serper, "brave": Brave, "tavily": Tavily, "exa": Exa}
VELLAND = "https://atlas.example/velland"
SNIPPETS = {"exa": "The flag of Velland … shows a heron.", "serper": "The flag of Velland shows a heron on blue."}
TITLES = {"serper": "Velland & its flag"}
PICTURE = "https://img.example/velland.png"
PICTURES = {
    "tavily": ImageHit(title="A heron on blue.", image_url=PICTURE, page_url=""),
    "exa": ImageHit(title="Velland and its flag", image_url=PICTURE, page_url=VELLAND),
}
RECORDED_PICTURES = {"exa": ("exa_search", "exa_search_empty")}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEN_SEARCHER_TEST_KEY", KEY)


def make(name: str) -> Callable[[str, float], object]:
    if name == "searxng":
        return lambda base_url, timeout_s: SearXNG(base_url=base_url, timeout_s=timeout_s)
    secret = Secret("env:GEN_SEARCHER_TEST_KEY")
    return lambda base_url, timeout_s: KEYED[name](key=secret, base_url=base_url, timeout_s=timeout_s)


def recorded(found: str, empty: str) -> tuple[bytes, bytes]:
    return (RECORDED / f"{found}.json").read_bytes(), (RECORDED / f"{empty}.json").read_bytes()


@pytest.mark.parametrize("name", ["serper", "brave", "tavily", "exa", "searxng"])
async def test_a_page_search_keeps_the_contract(name: str) -> None:
    found, empty = recorded(f"{name}_search", f"{name}_search_empty")
    first = Hit(
        title=TITLES.get(name, "Velland and its flag"),
        url=VELLAND,
        snippet=SNIPPETS.get(name, "The flag of Velland shows a heron."),
    )
    maker = cast("Callable[[str, float], SearchProvider]", make(name))
    key = "" if name == "searxng" else KEY
    assert await check_search(Setup(make=maker, found=found, empty=empty, first=first, key=key)) == 20


@pytest.mark.parametrize("name", ["serper", "brave", "tavily", "exa", "searxng"])
async def test_a_picture_search_keeps_the_contract(name: str) -> None:
    found, empty = recorded(*RECORDED_PICTURES.get(name, (f"{name}_images", f"{name}_images_empty")))
    first: Result = PICTURES.get(name, ImageHit(title="Flag of Velland", image_url=PICTURE, page_url=VELLAND))
    maker = cast("Callable[[str, float], ImageSearchProvider]", make(name))
    key = "" if name == "searxng" else KEY
    assert await check_image_search(Setup(make=maker, found=found, empty=empty, first=first, key=key)) == 20


async def test_the_jina_reader_keeps_the_contract() -> None:
    found, empty = recorded("jina_page", "jina_page_gone")
    first = Page(
        url="https://example.org/page",
        title="Velland and its flag",
        text="# Velland\n\nThe flag of Velland shows a heron.",
    )

    def maker(base_url: str, timeout_s: float) -> PageReader:
        return JinaReader(key=Secret("env:GEN_SEARCHER_TEST_KEY"), base_url=base_url, timeout_s=timeout_s)

    assert await check_reader(Setup(make=maker, found=found, empty=empty, first=first, key=KEY)) == 19


def guarded(base_url: str, timeout_s: float) -> PageReader:
    """The reader of a run, with `example.org` on loopback."""
    config = FetchConfig(attempts=1, total_timeout_s=timeout_s, connect_timeout_s=timeout_s)
    host, _, port = base_url.removeprefix("http://").partition(":")
    allow = {"example.org": Address(host=host, port=int(port))}
    return GuardedReader(fetcher=Fetcher(config, allow=allow))


HTML_PAGE = b"<html><head><title>Velland</title></head><body><p>The flag of Velland shows a heron.</p></body></html>"
READ = Page(url="http://example.org/page", title="Velland", text="The flag of Velland shows a heron.")


async def test_the_guarded_reader_keeps_the_contract() -> None:
    assert await check_fetching_reader(guarded, found=HTML_PAGE, first=READ) == 17


class Trusting:
    """What a reader must not be: it goes where it is sent, takes what it gets and hides every failure."""

    def __init__(self, base_url: str, timeout_s: float) -> None:
        self._base_url, self._timeout = base_url, aiohttp.ClientTimeout(total=timeout_s)

    async def read(self, url: str) -> Page | None:
        try:
            async with (
                aiohttp.ClientSession(timeout=self._timeout) as session,
                session.get(f"{self._base_url}/page", headers={"Host": "example.org"}) as response,
            ):
                return Page(url=url, title="Velland", text=(await response.text()).split("<p>")[1].split("</p>")[0])
        except Exception:  # noqa: BLE001  the carelessness under test
            return None


async def test_a_reader_that_goes_where_it_is_sent_breaks_it() -> None:
    with pytest.raises(ContractBroken, match="13 of 17 cases failed") as caught:
        await check_fetching_reader(Trusting, found=HTML_PAGE, first=READ)
    assert "nobody should be sent to is refused without a request" in str(caught.value)


class Careless:
    """What a provider must not be: every failure is an empty answer."""

    def __init__(self, base_url: str) -> None:
        self._inside = Serper(key=Secret("env:GEN_SEARCHER_TEST_KEY"), base_url=base_url, timeout_s=0.3)

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        try:
            return (await self._inside.search(query, limit=99))[:99]
        except Exception:  # noqa: BLE001  the carelessness under test
            return []
        finally:
            await self._inside.close()


async def test_a_provider_that_hides_its_failures_breaks_it() -> None:
    found, empty = recorded("serper_search", "serper_search_empty")
    first = Hit(title=TITLES["serper"], url=VELLAND, snippet=SNIPPETS["serper"])
    setup: Setup[SearchProvider] = Setup(
        make=lambda base_url, timeout_s: Careless(base_url), found=found, empty=empty, first=first, key=KEY
    )
    with pytest.raises(ContractBroken, match="14 of 20 cases failed") as caught:
        await check_search(setup)
    assert "No more than `limit` results" in str(caught.value)
    assert "429: overloaded" in str(caught.value)
