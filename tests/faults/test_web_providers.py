"""Cases 19 to 23 and 32: a provider that is overloaded, broken, lying, closed or too dear."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from gen_searcher.config.agent import ToolsConfig
from gen_searcher.config.limits import BreakerConfig
from gen_searcher.errors import BudgetSpent, ProviderClosed, ProviderDown, ProviderOverloaded
from gen_searcher.tools.limits import Accounts
from gen_searcher.tools.spend import SpendFile
from gen_searcher.types import ToolCall, ToolResult
from tests.faults.web import Served, Talk, Watch, all_lost, call, group, limits, organic, raw, resets, says, tools

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SEARCH = [call("search", queries=["q"])]


BROKEN: dict[str, Talk] = {
    "429": says(b"{}", status=429),
    "429 with a date that is no date": says(b"{}", status=429, headers={"Retry-After": "soon"}),
    "429 for an hour": says(b"{}", status=429, headers={"Retry-After": "3600"}),
    "500": says(b"<html>oops</html>", status=500, kind="text/html"),
    "502": says(b"", status=502),
    "504": says(b"", status=504),
    "reset": resets,
    "TLS on a plain port": raw(b"\x15\x03\x01\x00\x02\x02\x28"),
    "half a head": raw(b"HTTP/1.1 200 OK\r\nContent-"),
    "half-closed": raw(HEAD + b"Content-Length: 100\r\n\r\n{"),
    "slow drip": raw(HEAD + b"Content-Length: 1000\r\n\r\n", b" ", pause_s=0.2, times=1000),
    "slow head": raw(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", pause_s=0.2, times=1000),
    "error in disguise": says(b'{"message": "Something broke", "statusCode": 500}'),
    "null body": says(b"null"),
    "html": says(b"<!doctype html><html>Just a moment</html>", kind="text/html"),
    "50 MB": raw(HEAD + b"Content-Length: 52428800\r\n\r\n", b" " * 65536, times=800),
    "without end": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n", times=5000),
    "length that lies": raw(HEAD + b"Content-Length: 1073741824\r\n\r\n" + organic("http://a/")),
    "two lengths": raw(HEAD + b"Content-Length: 5\r\nContent-Length: 500\r\n\r\n{}"),
    "huge header": raw(HEAD + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n{}"),
    "deep JSON": says(b"[" * 100_000),
    "NaN": says(b'{"organic": NaN}'),
}


@pytest.mark.fault(20, 21)
@pytest.mark.parametrize("harm", BROKEN)
async def test_a_broken_provider_loses_the_attempt_and_scores_nothing(tmp_path: Path, harm: str) -> None:
    watch = Watch()
    async with Served(BROKEN[harm]) as served, tools(tmp_path, served) as toolbox:
        all_lost(await group(tmp_path, toolbox, SEARCH), stage="search")
    assert 1 <= len(served.heads) <= 2 * 2 * 2  # members, tries of a member, tries of a call
    watch.nothing_left_loopback()
    watch.memory_grew_less_than(60)


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    "body",
    [b'{"organic": null}', b'{"organic": []}', b'{"organic": null, "organic": []}'],
)
async def test_nothing_found_is_an_answer_and_no_outage(tmp_path: Path, body: bytes) -> None:
    async with Served(says(body)) as served, tools(tmp_path, served) as toolbox:
        outcome = await group(tmp_path, toolbox, SEARCH)
    assert outcome.rewards == (0.75, 0.75)
    assert len(served.heads) == 1  # two siblings, one payment


@pytest.mark.fault(21)
async def test_bad_letters_spoil_a_letter(tmp_path: Path) -> None:
    body = organic("http://a/").replace(b'"T"', b'"T\xff"')
    async with Served(says(body)) as served, tools(tmp_path, served) as toolbox:
        result = await toolbox.call(ToolCall(name="search", arguments={"queries": ["q"]}), trajectory_id="t:1")
    assert "1. T\ufffd | http://a/" in result.text


@pytest.mark.fault(20)
async def test_a_provider_where_nobody_listens_is_an_outage(tmp_path: Path) -> None:
    async with Served(says(b"")) as served:
        pass
    async with tools(tmp_path, served) as toolbox:
        all_lost(await group(tmp_path, toolbox, SEARCH), stage="search")


class Elsewhere(Served):
    """The same server under another address."""

    base = ""

    @property
    def base_url(self) -> str:
        return self.base.format(port=self.port)


async def test_a_name_that_cannot_be_resolved_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def fails(host: str, *rest: object, **more: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
    watch = Watch()
    served = Elsewhere(says(b""))
    served.base = "http://api.provider.test"
    async with tools(tmp_path, served) as toolbox:
        all_lost(await group(tmp_path, toolbox, SEARCH), stage="search")
        page = [call("browse", url="http://pages.provider.test/", query="q")]
        all_lost(await group(tmp_path, toolbox, page), stage="browse")
    assert set(asked) == {"api.provider.test", "pages.provider.test"}
    watch.nothing_left_loopback()


async def test_a_provider_without_a_secure_connection_is_an_outage(tmp_path: Path) -> None:
    served = Elsewhere(says(organic("http://a/")))
    async with served:
        served.base = "https://127.0.0.1:{port}"  # which speaks no TLS
        async with tools(tmp_path, served) as toolbox:
            all_lost(await group(tmp_path, toolbox, SEARCH), stage="search")
        assert served.heads == []


@pytest.mark.fault(19)
async def test_an_hour_s_wait_is_told_to_all_and_costs_one_request(tmp_path: Path) -> None:
    slow = says(b"{}", status=429, headers={"Retry-After": "3600"})
    async with Served(slow) as served, tools(tmp_path, served, limit=limits(requests_per_s=100)) as toolbox:
        for query in ("a", "b", "c"):
            with pytest.raises(ProviderOverloaded):
                await toolbox.call(ToolCall(name="search", arguments={"queries": [query]}), trajectory_id="t:1")
    assert len(served.heads) == 1
    reading = {name: value.value for name, value in toolbox.reading().items()}
    assert reading["tool/asked_calls"] == 3
    assert reading["tool/serper_breaker_open"] == 0


async def test_what_one_worker_is_told_holds_for_the_others(tmp_path: Path) -> None:
    slow = says(b"{}", status=429, headers={"Retry-After": "60"})
    limit = limits(requests_per_s=100)
    accounts = Accounts(config=limit)
    async with (
        Served(slow) as served,
        tools(tmp_path / "1", served, limit=limit, accounts=accounts, name="w1") as one,
        tools(tmp_path / "2", served, limit=limit, accounts=accounts, name="w2") as other,
    ):
        for toolbox in (one, other):
            with pytest.raises(ProviderOverloaded):
                await toolbox.call(ToolCall(name="search", arguments={"queries": ["q"]}), trajectory_id="t:1")
    assert len(served.heads) == 1


async def test_two_workers_have_one_quota_between_them(tmp_path: Path) -> None:
    limit = limits(requests_per_s=0.1, burst_requests=3)
    accounts = Accounts(config=limit)
    async with (
        Served(says(organic("http://a/"))) as served,
        tools(tmp_path / "1", served, limit=limit, accounts=accounts, name="w1") as one,
        tools(tmp_path / "2", served, limit=limit, accounts=accounts, name="w2") as other,
    ):
        calls = [ToolCall(name="search", arguments={"queries": [f"q{number}"]}) for number in range(4)]
        asked = (toolbox.call(each, trajectory_id="t:1") for toolbox in (one, other) for each in calls)
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert len(served.heads) == 3
    assert sum(isinstance(answer, ProviderOverloaded) for answer in answers) == 5


async def test_an_open_breaker_asks_nobody_and_what_is_known_is_still_told(tmp_path: Path) -> None:
    answers: list[Talk] = [says(organic("http://a/"))]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers[0](reader, writer)

    limit = limits(breaker=BreakerConfig(failures=2, open_s=60))
    async with Served(talk) as served, tools(tmp_path, served, limit=limit) as toolbox:

        async def ask(query: str) -> ToolResult:
            return await toolbox.call(ToolCall(name="search", arguments={"queries": [query]}), trajectory_id="t:1")

        assert (await ask("known")).cache == "miss"
        answers[0] = says(b"", status=502)
        for query in ("a", "b"):  # two tries open it, then nobody is asked
            with pytest.raises(ProviderDown):
                await ask(query)
            assert len(served.heads) == 3
        assert (await ask("known")).cache == "hit"
        assert toolbox.reading()["tool/serper_breaker_open"].value == 1


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, b'{"message": "Unauthorized."}', 3),
        (403, b'{"message": "Forbidden"}', 3),
        (402, b"{}", 4),
        (403, b'{"message": "Not enough credits"}', 4),
    ],
)
async def test_a_closed_account_stops_the_run_by_name(tmp_path: Path, status: int, body: bytes, code: int) -> None:
    async with Served(says(body, status=status)) as served, tools(tmp_path, served) as toolbox:
        with pytest.raises(ProviderClosed, match=r"serper: status 40.*the run can be continued") as closed:
            await group(tmp_path, toolbox, SEARCH, size=1)
    assert closed.value.exit_code == code
    assert "canary-key-123" not in str(closed.value)
    assert len(served.heads) == 1


@pytest.mark.fault(23)
async def test_the_budget_stops_in_the_middle_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    spend = SpendFile(tmp_path / "spend.json")

    async def ask(budget_usd: float, queries: range) -> list[ToolResult | BaseException]:
        limit = limits(budget_usd=budget_usd, usd_per_request=0.001)
        accounts = Accounts(config=limit, committed_usd=spend.read())
        async with tools(tmp_path, served, limit=limit, accounts=accounts) as toolbox:
            calls = [ToolCall(name="search", arguments={"queries": [f"q{number}"]}) for number in queries]
            asked = (toolbox.call(each, trajectory_id="t:1") for each in calls)
            answers = list(await asyncio.gather(*asked, return_exceptions=True))
        spend.write(accounts.committed_usd)
        return answers

    async with Served(says(organic("http://a/"))) as served:
        first = await ask(0.005, range(12))
        assert len(served.heads) == 5  # 5 calls at 0.001 USD, and not one more
        spent = [error for error in first if isinstance(error, BudgetSpent)]
        assert len(spent) == 7
        assert "limits.providers.serper.budget_usd" in str(spent[0])
        assert spend.read() == {"serper": pytest.approx(0.005)}
        assert all(isinstance(error, BudgetSpent) for error in await ask(0.005, range(2)))
        assert len(served.heads) == 5
        more = await ask(0.008, range(12))
        assert sum(isinstance(error, BudgetSpent) for error in more) == 9
        assert len(served.heads) == 8


@pytest.mark.fault(32)
async def test_the_evaluation_s_own_pages_are_left_out_and_counted(tmp_path: Path) -> None:
    found = organic("http://answers.test/1", "http://www.ANSWERS.test./2", "http://notanswers.test/3")
    config = ToolsConfig(blocked_hosts=("answers.test",))
    async with Served(says(found)) as served, tools(tmp_path, served, config=config) as toolbox:
        result = await toolbox.call(ToolCall(name="search", arguments={"queries": ["q"]}), trajectory_id="t:1")
        assert result.sources == ("http://notanswers.test/3",)
        page = await toolbox.call(
            ToolCall(name="browse", arguments={"url": "http://answers.test/1", "query": "q"}), trajectory_id="t:1"
        )
        assert (page.kind, page.reason) == ("failed", "this site cannot be read here")
        assert toolbox.reading()["tool/blocked_count"].value == 3
    assert len(served.heads) == 1
