"""What a benchmark of this run has asked and paid for, kept in its folder: see `bench.journal`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from gen_searcher import __version__
from gen_searcher.agent.budget import most_pictures
from gen_searcher.bench.journal import (
    Journal,
    RememberedGenerator,
    RememberedJudge,
    RememberedSearcher,
    at_first,
    digest,
)
from gen_searcher.commands.crew import attempt_of, shortest_limit
from gen_searcher.commands.fingerprints import fingerprint
from gen_searcher.config.plug import Plug
from gen_searcher.config.root import RunConfig
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Generator as ImageGenerator
from gen_searcher.protocols import Judge, Searcher
from gen_searcher.train.attempt import AttemptRunner
from gen_searcher.train.useful import Stages
from gen_searcher.types import Attempt, Task, Trajectory

HOW = frozenset({"key", "tries", "timeout_s", "concurrency"})
"""Settings that may change between two runs of one benchmark, and what was paid for still counts."""
HOW_STARTS = ("retry_", "usd_per_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Three journals, and who is asked when they do not know."""

    cfg: RunConfig
    store: ImageStore
    searches: Journal
    pictures: Journal
    verdicts: Journal

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, *, cfg: RunConfig, store: ImageStore) -> Generator[Remembered]:
        """The journals of a benchmark's folder."""
        with contextlib.ExitStack() as opened:
            searches, pictures, verdicts = (
                opened.enter_context(contextlib.closing(Journal(folder / f"{name}.jsonl")))
                for name in ("searches", "pictures", "verdicts")
            )
            yield cls(cfg=cfg, store=store, searches=searches, pictures=pictures, verdicts=verdicts)

    def searcher(self, searcher: Searcher, *, policy: Path) -> Searcher:
        """The policy's searcher, asked once per task and seed, whichever generator draws what it finds.

        One that looks at its own pictures finds something else with another generator, and so does one whose prompts
        must be shorter, be it for one generator of a sweep.
        """
        agent = self.cfg.agent.sampling_like(self.cfg.bench)

        def who() -> str:
            found = digest(
                fingerprint(policy), agent.model_dump_json(), shaping(self.cfg.search.model_dump(mode="json"))
            )
            if agent.looks:
                found = digest(found, shaping(self.cfg.generator.model_dump(mode="json")))
            return limited_to(shown_to(found, self.cfg), self.cfg)

        return _PolicySearcher(searcher, self.searches, who=who)

    def generator(self, generator: ImageGenerator) -> RememberedGenerator:
        """The configured generator, asked once per grounding and seed."""
        who = digest(shaping(self.cfg.generator.model_dump(mode="json")))
        return RememberedGenerator(generator, self.pictures, who=who, store=self.store)

    def attempt(self, stages: Stages) -> AttemptRunner:
        """An attempt whose picture and verdicts are remembered."""
        generator = self.generator(stages.generator)
        judges = [self.judged_by(judge, self.cfg.judges[judge.name]) for judge in stages.judges]
        make = attempt_of(replace(stages, generator=generator, judges=judges))

        async def attempt(task: Task, *, seed: int) -> Attempt:
            return at_first(await make(task, seed=seed), generator)

        return attempt

    def judged_by(self, judge: Judge, plug: Plug) -> Judge:
        """A judge, asked once per question; its prompts come with this version of the program."""
        who = digest(__version__, shaping(plug.model_dump(mode="json")))
        return RememberedJudge(judge, self.verdicts, who=who)


def shown_to(who: str, cfg: RunConfig) -> str:
    """`who` searches, told apart by how many pictures it is shown where that is fewer than a search can bring."""
    return digest(who, cfg.policy.max_images) if most_pictures(cfg.agent) > cfg.policy.max_images else who


def limited_to(who: str, cfg: RunConfig) -> str:
    """`who` searches, told apart by the longest prompt that it may hand in where a generator has a limit."""
    most_chars = shortest_limit([cfg.generator, *cfg.bench.generators.values()])
    return who if most_chars is None else digest(who, "max_prompt_chars", most_chars)


class _PolicySearcher:
    """A remembered searcher whose policy is read, to know it by, when it is first asked, and not on the event loop."""

    def __init__(self, searcher: Searcher, journal: Journal, *, who: Callable[[], str]) -> None:
        self._asked = searcher
        self._journal = journal
        self._who = who
        self._known: asyncio.Task[Searcher] | None = None

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """See `Searcher.search`."""
        if self._known is None:
            self._known = asyncio.create_task(self._remembered())
        return await (await asyncio.shield(self._known)).search(task, seed=seed)

    async def _remembered(self) -> Searcher:
        return RememberedSearcher(self._asked, self._journal, who=await asyncio.to_thread(self._who))


def shaping(settings: JsonValue) -> JsonValue:
    """Settings without those that say how often, how long, for how much and with which key: none changes an answer."""
    if isinstance(settings, list):
        return [shaping(item) for item in settings]
    if not isinstance(settings, dict):
        return settings
    return {
        name: shaping(value) for name, value in settings.items() if name not in HOW and not name.startswith(HOW_STARTS)
    }
