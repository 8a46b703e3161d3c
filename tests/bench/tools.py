"""How much of the time the tools cost is the tools' own: 1,024 six-turn trajectories at once, heavy-tailed latencies.

    efficiency = critical path / wall time

The critical path is the largest sum, over the trajectories, of one trajectory's own waits: what no scheduler can go
below. It is computed from the load alone, before anything runs. A wait is the provider's latency or, where that is longer,
the deadline of one try, after which the call is tried again: a stuck call counts with its deadline, on both sides. Each
trajectory searches five times (lognormal latency, sigma 1; 1 % of the tries are stuck) and answers.

Wall time is from the first turn to the last answer, all trajectories at once on one event loop with the parts that a
run has: agent, renderer, argument checks, cache, tape, lease, breaker, deadline, canaries. Only what the scripted policy
says is put into tokens before the clock starts, since sampling is an engine's work. Beside it runs trl's tool loop on
the first trajectories of the same load, with the same deadline around its tool.

    python -m tests.bench.tools [--quick]

For `efficiency_trl` run it with a Python that can import trl; otherwise the key is null and the reason is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import io
import json
import math
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.cassette.seams import TapedSearch
from gen_searcher.cassette.tape import Identity, Tape
from gen_searcher.config.agent import AgentConfig, FetchConfig, ToolsConfig
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.limits import BreakerConfig, LimitsConfig, ProviderLimits, RetryConfig
from gen_searcher.image_store import ImageStore
from gen_searcher.testing.scripted_engine import ScriptedEngine
from gen_searcher.tools.calling import Caller, LocalAuthority
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.limited import LimitedSearch
from gen_searcher.tools.limits import Accounts
from gen_searcher.tools.meter import Meter
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.types import Outcome, Task, ToolCall
from gen_searcher.web import Hit, ImageHit, Page

CALLS = 5
STUCK_FRAC = 0.01
STUCK_S = 1e6
TRIES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Latencies by (trajectory, call, try), in seconds."""

    trajectories: int
    median_s: float
    deadline_s: float
    seed: int

    def latency_s(self, trajectory: int, call: int, attempt: int) -> float:
        rng = random.Random(f"{self.seed}/{trajectory}/{call}/{attempt}")
        return STUCK_S if rng.random() < STUCK_FRAC else self.median_s * math.exp(rng.gauss(0.0, 1.0))

    def path_s(self, trajectory: int) -> float:
        """What the calls of one trajectory take when nothing else does."""
        return sum(self._call_s(trajectory, call) for call in range(CALLS))

    def critical_s(self, trajectories: int) -> float:
        return max(map(self.path_s, range(trajectories)))

    def _call_s(self, trajectory: int, call: int) -> float:
        total_s = 0.0
        for attempt in range(TRIES):
            latency_s = self.latency_s(trajectory, call, attempt)
            total_s += min(latency_s, self.deadline_s)
            if latency_s < self.deadline_s:
                break
        return total_s


class SlowWeb:
    """A provider that takes its time; also the reader and picture search that nobody asks here."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._asked: dict[str, int] = {}

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        attempt = self._asked.get(query, 0)
        self._asked[query] = attempt + 1
        trajectory, call = map(int, query.split())
        await asyncio.sleep(self._load.latency_s(trajectory, call, attempt))
        return [Hit(title=f"{query} {rank}", url=f"http://a/{rank}", snippet="word " * 20) for rank in range(limit)]

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        return [ImageHit(title=query, image_url=f"http://pictures.test/{n}.png", page_url="") for n in range(limit)]

    async def read(self, url: str) -> Page | None:
        return None


def opened(web: SlowWeb, load: Load, folder: Path, *, allow: dict[str, Address]) -> Toolbox:
    """A toolbox as a worker's: cache, tape (live), lease, breaker, deadline."""
    limits = LimitsConfig(
        providers={"slow": ProviderLimits(requests_per_s=1e6, burst_requests=10**6, concurrency=10**6)},
        retry=RetryConfig(attempts=TRIES, base_s=0.0, try_s=load.deadline_s, total_s=10_000.0),
        breaker=BreakerConfig(failures=1000),  # calls that began together are stuck together: no sign of an outage
        lease_requests=256,
    )
    meter = Meter()
    authority = LocalAuthority(Accounts(config=limits))
    caller = Caller("slow", stage="search", authority=authority, limits=limits, meter=meter, holder="bench")
    tape = Tape(CassetteConfig(), folder=folder, meter=meter)
    return Toolbox(
        search=TapedSearch(LimitedSearch(web, caller), tape, Identity(provider="slow", revision="1")),
        images=web,
        reader=web,
        fetcher=Fetcher(FetchConfig(), allow=allow),
        store=ImageStore(folder / "images"),
        config=ToolsConfig(images_per_search=10),
        meter=meter,
    )


async def ours(load: Load, folder: Path) -> dict[str, float]:
    """All trajectories at once."""
    toolbox = opened(SlowWeb(load), load, folder, allow={})
    renderer = Renderer.over_bytes()
    config = AgentConfig(prompt="brief", max_context_tokens=200_000)
    answer = '<answer>{"gen_prompt": "a flag", "reference_images": []}</answer>'

    def agent(number: int) -> Agent:
        calls = [{"name": "search", "arguments": {"queries": [f"{number} {call}"]}} for call in range(CALLS)]
        texts = [f"<think>x</think>\n<tool_call>{json.dumps(call)}</tool_call>" for call in calls]
        engine = ScriptedEngine([renderer.encode_completion(text) for text in (*texts, answer)], renderer=renderer)
        return Agent(engine=engine, tools=toolbox, renderer=renderer, config=config)

    async def one(number: int, agent: Agent) -> Outcome:
        task = Task(id=f"t{number}", prompt="a flag", target=None, meta={})
        return (await agent.search(task, seed=number)).outcome

    agents = [agent(number) for number in range(load.trajectories)]
    cpu_s, start_s = time.process_time(), time.perf_counter()
    outcomes = await asyncio.gather(*(one(number, agent) for number, agent in enumerate(agents)))
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - cpu_s
    await toolbox.close()
    assert set(outcomes) == {Outcome.GROUNDED}
    critical_s = load.critical_s(load.trajectories)
    turns = load.trajectories * (CALLS + 1)
    return {
        "efficiency": critical_s / wall_s,
        "wall_s": wall_s,
        "critical_s": critical_s,
        "cpu_ms": cpu_s / turns * 1e3,
    }


async def bare(load: Load) -> dict[str, float]:
    """The same waits, at a quarter, with nothing around them: what this machine allows at this moment."""
    web = SlowWeb(load)

    async def one(number: int) -> None:
        for call in range(CALLS):
            for _ in range(TRIES):
                try:
                    async with asyncio.timeout(load.deadline_s):
                        await web.search(f"{number} {call}", limit=1)
                    break
                except TimeoutError:
                    continue

    start_s = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(load.trajectories)))
    wall_s = time.perf_counter() - start_s
    critical_s = load.critical_s(load.trajectories)
    return {"efficiency": critical_s / wall_s, "wall_s": wall_s, "critical_s": critical_s}


def theirs(load: Load, trajectories: int) -> dict[str, float]:
    """`GRPOTrainer._tool_call_loop` of trl, with a scripted policy in the place of its model and its parser."""
    from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision

    ensure_torchvision()  # transformers fails to import beside a torchvision of another build
    from trl.trainer import grpo_trainer as trl  # pyright: ignore[reportMissingImports] - an optional extra

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    web = SlowWeb(load)

    async def search(query: str) -> str:
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(load.deadline_s):
                    return str(await web.search(query, limit=5))
            except TimeoutError:
                continue
        raise TimeoutError(query)

    def said(number: int, turn: int) -> dict[str, Any]:
        if turn == CALLS:
            return {"role": "assistant", "content": "answer"}
        function = {"name": "search", "arguments": {"query": f"{number} {turn}"}}
        return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}

    turns = dict.fromkeys(range(trajectories), 0)

    def generate(prompt_ids: list[list[int]], *_: object, **__: object) -> tuple[list[list[int]], None]:
        """(trajectory, turn) is all that this policy ever says; a prompt begins with its trajectory."""
        for ids in prompt_ids:
            turns[ids[0]] += 1
        return [[ids[0], turns[ids[0]]] for ids in prompt_ids], None

    trainer = SimpleNamespace(
        max_tool_calling_iterations=CALLS + 1,
        _sync_tool_dicts=[{}] * trajectories,
        _async_tool_dicts=[{"search": search}] * trajectories,
        async_loop=loop,
        use_vllm=False,
        vllm_mode="server",
        _is_vlm=False,
        model=SimpleNamespace(config=SimpleNamespace(max_position_embeddings=10**9)),
        max_completion_length=10**9,
        tools=[search],
        environment_factories=None,
        _tokenizer=None,
        processing_class=None,
        _get_tool_suffix_ids=lambda messages: [],
        _generate_single_turn=generate,
    )
    own_parser = trl.parse_response
    trl.parse_response = lambda tokenizer, ids, **_: said(ids[0], ids[1])
    completion_ids = [[number, 0] for number in range(trajectories)]

    start_s = time.perf_counter()
    try:
        result = trl.GRPOTrainer._tool_call_loop(
            trainer,
            [[{"role": "user", "content": "a flag"}] for _ in range(trajectories)],
            [[number] for number in range(trajectories)],
            completion_ids,
            [[said(number, 0)] for number in range(trajectories)],
            None,
            None,
            None,
        )
    finally:
        trl.parse_response = own_parser
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
    wall_s = time.perf_counter() - start_s
    assert result[4] == trajectories * CALLS
    assert result[5] == 0
    critical_s = load.critical_s(trajectories)
    return {"efficiency": critical_s / wall_s, "wall_s": wall_s, "critical_s": critical_s}


async def moved(folder: Path, *, pictures: int, askers: int) -> float:
    """Bytes that the server sent for pictures over the pictures' size, when many ask for the same ones."""
    rng = random.Random(0)
    bodies = []
    for _ in range(pictures):
        buffer = io.BytesIO()
        Image.frombytes("RGB", (160, 160), rng.randbytes(160 * 160 * 3)).save(buffer, "PNG")
        bodies.append(buffer.getvalue())
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            while True:
                line = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
                body = bodies[int(line.strip(b"/").split(b".")[0])]
                head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                sent += len(head) + len(body)
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    load = Load(trajectories=1, median_s=0.0, deadline_s=10.0, seed=0)
    address = Address(host="127.0.0.1", port=int(server.sockets[0].getsockname()[1]))
    toolbox = opened(SlowWeb(load), load, folder, allow={"pictures.test": address})
    calls = [ToolCall(name="image_search", arguments={"query": f"q{n % 4}"}) for n in range(askers)]
    found = await asyncio.gather(*(toolbox.call(call, trajectory_id=f"t{n}:0") for n, call in enumerate(calls)))
    await toolbox.close()
    server.close()
    assert all(len(result.images) == 10 for result in found)
    return sent / sum(map(len, bodies))


def main() -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    median_s, deadline_s, repeats, small = (0.5, 5.0, 1, 8) if quick else (2.0, 20.0, 3, 32)
    load = Load(trajectories=1024, median_s=median_s, deadline_s=deadline_s, seed=7)
    say = sys.stdout.write
    with tempfile.TemporaryDirectory() as folder:
        runs = [asyncio.run(ours(load, Path(folder) / str(number))) for number in range(repeats)]
        control = [asyncio.run(bare(replace(load, median_s=median_s / 4, deadline_s=deadline_s / 4)))]
        ratio = asyncio.run(moved(Path(folder) / "pictures", pictures=10, askers=40))
    mid = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    least = {name: statistics.median(run[name] for run in control) for name in control[0]}
    say(f"{'':24} {'ours':>10} {'bare':>10} {'trl':>10}\n")
    peer: dict[str, float] | None = None
    # a tenth of the latencies: trl waits for one trajectory after the other, and its ratio does not depend on the scale
    slower = Load(trajectories=small, median_s=median_s / 10, deadline_s=deadline_s / 10, seed=7)
    if importlib.util.find_spec("trl") is None:
        reason = "trl cannot be imported by this Python"
    else:
        peer = theirs(slower, small)
        reason = f"trl on the first {small} trajectories at a tenth of the latencies; more of them lower its ratio"
    for name in ("efficiency", "wall_s", "critical_s"):
        say(f"{name:24} {mid[name]:10.3f} {least[name]:10.3f} {peer[name] if peer else math.nan:10.3f}\n")
    say(f"{'ms_cpu_per_turn':24} {mid['cpu_ms']:10.3f}\n{'bytes_per_picture_ratio':24} {ratio:10.4f}\n{reason}\n")
    keys = {
        "efficiency": round(mid["efficiency"], 4),
        "efficiency_bare": round(least["efficiency"], 4),
        "efficiency_trl": None if peer is None else round(peer["efficiency"], 4),
        "efficiency_trl_reason": reason,
        "ms_cpu_per_turn": round(mid["cpu_ms"], 3),
        "bytes_per_picture_ratio": round(ratio, 4),
    }
    say(json.dumps(keys) + "\n")


if __name__ == "__main__":
    main()
