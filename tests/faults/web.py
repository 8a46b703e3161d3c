"""The outside world misbehaving, on loopback: raw servers, one real search provider, and attempts that run through them.

    policy (scripted) -> tools as a run builds them -> provider -> server -> Group

Every connection and every name that this process asks for is written down, so that a test can say where none went.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.actors.tool import ToolSpec, build_toolbox
from gen_searcher.config.agent import AgentConfig, FetchConfig, SearchConfig, ToolsConfig
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.limits import BreakerConfig, LimitsConfig, ProviderLimits, RetryConfig
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Generator, Judge
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.testing.scripted_engine import ScriptedEngine
from gen_searcher.tools.calling import LocalAuthority
from gen_searcher.tools.guard import Address
from gen_searcher.tools.limits import Accounts
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.types import Attempt, Group, Task

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

TASK = Task(id="t", prompt="a flag", target=None, meta={})
ANSWER = '<answer>{"gen_prompt": "a flag", "reference_images": []}</answer>'
_connected: list[str] = []
_looked_up: list[str] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        _connected.append(str(address[0]) if isinstance(address, tuple) else "a local socket")
    elif event == "socket.getaddrinfo":
        _looked_up.append(str(arguments[0]))


sys.addaudithook(_listen)


class Watch:
    """What left this process, and how much memory it took, since the watch began."""

    def __init__(self) -> None:
        self._connected, self._looked_up = len(_connected), len(_looked_up)
        self._peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @property
    def began(self) -> int:
        """Connections before the watch."""
        return self._connected

    @property
    def connections(self) -> int:
        """Connections of this process so far, tried ones too."""
        return len(_connected)

    def nothing_left_loopback(self) -> None:
        strangers = [
            host for host in _connected[self._connected :] if host not in ("127.0.0.1", "::1", "a local socket")
        ]
        assert strangers == []
        local = ("127.0.0.1", "localhost", "localhost.", "None")
        assert [host for host in _looked_up[self._looked_up :] if host not in local] == []

    def memory_grew_less_than(self, mib: float) -> None:
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._peak_kib
        assert grown_kib < mib * 1024, f"{grown_kib / 1024:.0f} MiB more at the peak"


class Served:
    """A raw server: what is said on each connection is up to the test."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.heads: list[str] = []
        self.port = 0
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        return Address(host="127.0.0.1", port=self.port)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            await self._talk(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def says(
    body: bytes, *, status: int = 200, kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> Talk:
    """One whole answer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    return talk


def raw(*parts: bytes, pause_s: float = 0.0, times: int = 1) -> Talk:
    """The bytes as they are, over and over, with a pause between two parts."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(parts[0])
        for _ in range(times):
            for part in parts[1:]:
                writer.write(part)
                await writer.drain()
                if pause_s:
                    await asyncio.sleep(pause_s)

    return talk


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang up without a word."""
    writer.transport.abort()


def organic(*urls: str) -> bytes:
    """Serper's answer with these results."""
    return json.dumps({"organic": [{"title": "T", "link": url, "snippet": "S"} for url in urls]}).encode()


def limits(*, breaker: BreakerConfig | None = None, **of_serper: float) -> LimitsConfig:
    return LimitsConfig(
        providers={"serper": ProviderLimits(**of_serper)},  # type: ignore[arg-type]
        retry=RetryConfig(attempts=2, base_s=0.01, try_s=0.5, total_s=2.0),
        breaker=breaker or BreakerConfig(failures=20, open_s=0.1),
    )


def _key(path: Path) -> Path:
    """A file with the key that must turn up nowhere."""
    path.mkdir(parents=True, exist_ok=True)
    key = path / "key"
    key.write_text("canary-key-123", encoding="utf-8")
    return key


@asynccontextmanager
async def tools(
    path: Path,
    served: Served,
    *,
    limit: LimitsConfig | None = None,
    cassette: CassetteConfig | None = None,
    accounts: Accounts | None = None,
    fetch: FetchConfig | None = None,
    config: ToolsConfig | None = None,
    name: str = "w",
) -> AsyncIterator[Toolbox]:
    """Serper at `served`, the guarded fetcher for `site.test` at `served` too, as a tool worker builds them."""
    key = _key(path)
    plug = {
        "_target_": "gen_searcher.tools.providers.serper.Serper",
        "key": f"file:{key}",
        "base_url": served.base_url,
        "usd_per_request": 0.001,
    }
    limit = limit or limits()
    fetching = FetchConfig(connect_timeout_s=1, total_timeout_s=0.5, deadline_s=3, attempts=2, retry_base_s=0.01)
    spec = ToolSpec(
        search=SearchConfig.model_validate({"search": plug, "images": plug, "fetch": fetch or fetching}),
        tools=config or ToolsConfig(),
        limits=limit,
        cassette=cassette or CassetteConfig(),
        images=str(path / "images"),
        tape_folder=str(path / "cassette"),
    )
    authority = LocalAuthority(accounts or Accounts(config=limit))
    toolbox = build_toolbox(spec, name=name, authority=authority, hosts={"site.test": served.address})
    try:
        yield toolbox
    finally:
        await toolbox.close()


def call(name: str, **arguments: object) -> str:
    return f"<think>x</think>\n<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


async def group(
    path: Path,
    toolbox: Toolbox,
    texts: Sequence[str],
    *,
    size: int = 2,
    tries: int = 2,
    task: Task = TASK,
    answer: str = ANSWER,
    generator: Generator | None = None,
    judges: Sequence[Judge] = (),
    alpha: float = 0.0,
) -> Group:
    """`size` attempts that each say `texts` and then answer; without other judges, one gives every answer 0.75."""
    store = ImageStore(path / "images")
    renderer = Renderer.over_bytes()

    async def attempt(task: Task, *, seed: int) -> Attempt:
        engine = ScriptedEngine([*texts, answer], renderer=renderer)
        config = AgentConfig(prompt="brief", max_context_tokens=100_000)
        return await run_attempt(
            task,
            seed=seed,
            searcher=Agent(engine=engine, tools=toolbox, renderer=renderer, config=config),
            generator=generator or StoredGenerator(FakeImageModel(), store),
            judges=judges or [FakeJudge(scores={task.id: 0.75})],
            compose=partial(compose, rules=RewardConfig(alpha=alpha)),
        )

    return await run_group(
        task, seed=1, version=0, rules=GroupRules(size=size, tries=tries, deadline_s=60), attempt=attempt
    )


def all_lost(outcome: Group, *, stage: str, size: int = 2, tries: int = 2) -> None:
    """No reward, and every try is on record with its stage and reason."""
    assert outcome.rewards == ()
    assert len(outcome.lost) == size * tries
    assert {lost.stage for lost in outcome.lost} == {stage}
    assert all(lost.error for lost in outcome.lost)
    assert not any("canary-key-123" in lost.error for lost in outcome.lost)


def disk_bytes(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
