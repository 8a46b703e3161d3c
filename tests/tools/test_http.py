from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from aiohttp import web
from yarl import URL

from gen_searcher.config.agent import FetchConfig
from gen_searcher.errors import ProviderDown, ProviderError, ProviderOverloaded
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.http import Fetched, Fetcher, Gone, next_hop
from gen_searcher.tools.meter import opened_tab

Serve = Callable[..., AbstractAsyncContextManager]
HTML = ("text/html",)


async def get(fetcher: Fetcher, url: str = "http://site.test/") -> Fetched:
    return await fetcher.get(url, stage="browse", types=HTML)


def replies(*answers: web.Response) -> Callable[[web.Request], object]:
    script = list(answers)

    async def handler(request: web.Request) -> web.StreamResponse:
        return script.pop(0)

    return handler


def page(text: str = "<p>hello</p>", **keywords: object) -> web.Response:
    return web.Response(text=text, content_type="text/html", **keywords)  # type: ignore[arg-type]


async def test_a_page_is_fetched_by_its_own_host_name(site: Serve) -> None:
    async with site(replies(page())) as server:
        fetched = await get(server.fetcher, "http://www.site.test/a#part")
    assert fetched == Fetched(
        url="http://www.site.test/a", content_type="text/html", charset="utf-8", body=b"<p>hello</p>"
    )
    assert server.requests == ["www.site.test/a"]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_dead_page_is_gone_at_once(site: Serve, status: int) -> None:
    async with site(replies(page(status=status))) as server:
        with pytest.raises(Gone, match=f"there is no such page \\({status}\\)"):
            await get(server.fetcher)
    assert len(server.requests) == 1


async def test_a_forbidden_page_is_refused(site: Serve) -> None:
    async with site(replies(page(status=403))) as server:
        with pytest.raises(Refused, match="status 403"):
            await get(server.fetcher)


async def test_a_struggling_server_is_asked_again_with_growing_waits(site: Serve) -> None:
    async with site(replies(page(status=503), page(status=500), page()), retry_base_s=1.0) as server:
        assert (await get(server.fetcher)).body == b"<p>hello</p>"
    assert len(server.waits_s) == 2
    assert 0.0 <= server.waits_s[0] <= 1.0
    assert 0.0 <= server.waits_s[1] <= 2.0


async def test_a_request_that_is_made_again_is_on_the_tab_of_its_tool_call(site: Serve) -> None:
    async with site(replies(page(status=503), page(status=500), page(), page())) as server:
        with opened_tab() as tab:
            await get(server.fetcher)
        with opened_tab() as later:
            await get(server.fetcher)
    assert (tab.retries, later.retries) == (2, 0)


async def test_retry_after_is_kept_to_and_a_longer_one_is_an_outage_at_once(site: Serve) -> None:
    answers = [page(status=429, headers={"Retry-After": value}) for value in ("8", "garbage", "3600")]
    async with site(replies(*answers, page()), attempts=9, retry_max_s=10.0, retry_base_s=0.1) as server:
        with pytest.raises(ProviderOverloaded, match=r"status 429 \(3 tries\)") as overloaded:
            await get(server.fetcher)
    assert overloaded.value.retry_after_s == 3600.0
    first, second = server.waits_s
    assert 8.0 <= first <= 8.1
    assert 0.0 <= second <= 0.2


async def test_all_hops_and_tries_share_one_deadline(site: Serve) -> None:
    async def drips(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return page()

    async with site(drips, deadline_s=0.2, total_timeout_s=50.0, attempts=9) as server:
        with pytest.raises(ProviderDown, match=r"site\.test: no page within 0\.2 s"):
            await get(server.fetcher)


async def test_a_server_that_stays_down_is_an_outage(site: Serve) -> None:
    async with site(replies(*(page(status=502) for _ in range(3)))) as server:
        with pytest.raises(ProviderDown, match=r"browse: site.test: status 502 \(3 tries\)"):
            await get(server.fetcher)


async def test_a_server_that_stays_overloaded_says_for_how_long(site: Serve) -> None:
    answers = [page(status=429, headers={"Retry-After": value}) for value in ("1", "90")]
    async with site(replies(*answers), attempts=2) as server:
        with pytest.raises(ProviderOverloaded, match=r"status 429 \(2 tries\)") as caught:
            await get(server.fetcher)
    assert caught.value.retry_after_s == 90.0


async def test_a_refused_connection_is_an_outage(site: Serve) -> None:
    async with site(replies()) as server:
        pass
    with pytest.raises(ProviderError, match=r"site\.test: ClientConnector"):
        await get(server.fetcher)
    await server.fetcher.close()


async def test_a_server_that_never_answers_is_an_outage(site: Serve) -> None:
    release = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return page()

    async with site(silent, total_timeout_s=0.05, attempts=2) as server:
        with pytest.raises(ProviderError, match=r"no response within 0.05 s \(2 tries\)"):
            await get(server.fetcher)
        release.set()


async def test_a_host_without_an_address_is_refused() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    fetcher = Fetcher(FetchConfig(), lookup=lookup)
    with pytest.raises(Refused, match="there is no such host"):
        await get(fetcher, "http://made-up.example/")
    await fetcher.close()


async def test_failing_name_resolution_is_an_outage() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    fetcher = Fetcher(FetchConfig(retry_base_s=0), lookup=lookup)
    with pytest.raises(ProviderError, match="name resolution failed"):
        await get(fetcher, "http://real.example/")
    await fetcher.close()


async def test_our_own_server_speaks_http_only(site: Serve) -> None:
    async with site(replies()) as server:
        with pytest.raises(Refused, match="http only"):
            await get(server.fetcher, "https://site.test/")
    assert server.requests == []


@pytest.mark.parametrize("host", ["inside.example", "127.0.0.1", "[::1]", "2130706433", "localhost"])
async def test_an_inside_address_is_refused_before_any_connection(host: str) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["10.0.0.1"]

    fetcher = Fetcher(FetchConfig(), lookup=lookup)
    try:
        with pytest.raises(Refused, match="address not allowed"):
            await get(fetcher, f"http://{host}/")
    finally:
        await fetcher.close()


async def test_redirects_are_followed_and_each_is_checked(site: Serve) -> None:
    def to(location: str) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    async with site(replies(to("/b"), to("http://other.site.test/c"), page())) as server:
        assert (await get(server.fetcher, "http://site.test/a")).url == "http://other.site.test/c"
    assert server.requests == ["site.test/a", "site.test/b", "other.site.test/c"]
    for bad, reason in {
        "http://169.254.169.254/": "address not allowed",
        "http://site.test:8080/": "port 8080",
        "http://u@site.test/": "user name",
        "file:///etc/passwd": "not an http",
        "http://[": "invalid address",
    }.items():
        async with site(replies(to(bad))) as server:
            with pytest.raises(Refused, match=reason):
                await get(server.fetcher)


def test_a_redirect_never_leaves_encryption() -> None:
    here = URL("https://a.example/x/y")
    assert str(next_hop(here, "../z", allow={})) == "https://a.example/z"
    assert str(next_hop(URL("http://a.example/"), "https://b.example/", allow={})) == "https://b.example/"
    with pytest.raises(Refused, match="from https to http"):
        next_hop(here, "http://a.example/", allow={})


async def test_a_redirect_loop_ends(site: Serve) -> None:
    async def loop(request: web.Request) -> web.StreamResponse:
        return web.Response(status=301, headers={"Location": "/"})

    async with site(loop) as server:
        with pytest.raises(Refused, match="more than 5 redirects"):
            await get(server.fetcher)
    assert len(server.requests) == 6


async def test_other_types_are_not_read(site: Serve) -> None:
    async with site(replies(web.Response(body=b"%PDF", content_type="application/pdf"))) as server:
        with pytest.raises(Refused, match="it is application/pdf, which cannot be read"):
            await get(server.fetcher)


async def test_a_large_body_is_refused_by_its_announced_length(site: Serve) -> None:
    async with site(replies(page("x" * 2001)), max_bytes=2000) as server:
        with pytest.raises(Refused, match="larger than 2000 bytes"):
            await get(server.fetcher)
    async with site(replies(page("x" * 2000)), max_bytes=2000) as server:
        assert len((await get(server.fetcher)).body) == 2000


async def test_a_body_without_end_is_cut_off(site: Serve) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=endless(), content_type="text/html")

    async with site(handler, max_bytes=100_000) as server:
        with pytest.raises(Refused, match="larger than 100000 bytes"):
            await get(server.fetcher)


def packed(body: bytes, encoding: str) -> web.Response:
    return web.Response(body=body, headers={"Content-Encoding": encoding, "Content-Type": "text/html"})


async def test_compressed_bodies_are_unpacked(site: Serve) -> None:
    answers = [packed(gzip.compress(b"hello"), "gzip"), packed(zlib.compress(b"hello"), "deflate")]
    async with site(replies(*answers)) as server:
        assert (await get(server.fetcher)).body == b"hello"
        assert (await get(server.fetcher)).body == b"hello"


async def test_a_compression_bomb_is_refused_by_what_it_unpacks_to(site: Serve) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000, compresslevel=9)
    assert len(bomb) < 60_000
    async with site(replies(packed(bomb, "gzip")), max_bytes=1_000_000) as server:
        tracemalloc.start()
        try:
            with pytest.raises(Refused, match="larger than 1000000 bytes"):
                await get(server.fetcher)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(b"not gzip", "gzip"), (gzip.compress(b"hello" * 100, mtime=0)[:-9], "gzip"), (b"x", "br")],
    ids=["not gzip", "cut short", "unknown"],
)
async def test_an_encoding_that_cannot_be_read_is_refused(site: Serve, body: bytes, encoding: str) -> None:
    async with site(replies(packed(body, encoding))) as server:
        with pytest.raises(Refused, match="its encoding"):
            await get(server.fetcher)
