"""Does the error analysis find what was broken? `python -m tests.bench.attribution [--quick]`.

Trajectories with one broken link each are made by the scripted teacher, the real tools, the painter and the offline
judge; what is planted is in `gen_searcher.testing.broken_links`. Each is attributed without knowing what was planted.
Prints what was planted against what was found and, as the last line, the shares that agree as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.bench.attribution import Attribution
from gen_searcher.bench.counterfactuals import Counterfactuals
from gen_searcher.bench.embedded_oracle import EmbeddedOracle
from gen_searcher.bench.links import Link
from gen_searcher.bench.oracle import Evidence
from gen_searcher.config.agent import AgentConfig, FetchConfig, ToolsConfig
from gen_searcher.config.bench import AnalysisConfig
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.data.tasks import load_tasks
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.rewards.compose import compose
from gen_searcher.rewards.offline.image_judge import OfflineImageJudge
from gen_searcher.testing.broken_links import Breakage, BrokenSpeech, MisdrawingModel, UnfairJudge, misheard
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.train.attempt import GroupRules, score_trajectory
from gen_searcher.types import Attempt, Task
from gen_searcher.world import World
from gen_searcher.world.bindings import bindings
from gen_searcher.world.canvas import wording
from gen_searcher.world.plans import plan_for
from gen_searcher.world.providers import EmbeddedWeb
from gen_searcher.world.server import EmbeddedServer
from gen_searcher.world.tasks import CAPTION, write_tasks
from gen_searcher.world.teacher import Teacher

TOOLS = ToolsConfig(hits_per_search=3, images_per_search=4)
RENDERER = Renderer.over_bytes()
CONFIG = AgentConfig(prompt="brief", tools=TOOLS)
NOTHING_BROKEN = Breakage(name="nothing")
JUNK = "zzyzx qwv"
AT_ONCE = 8
RULES = GroupRules(size=1, tries=1, deadline_s=300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One trajectory to be made."""

    task: Task
    link: Link | None
    """None: nothing is broken."""
    breakage: Breakage
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the analysis says of it."""

    planted: Planted
    attempt: Attempt
    attribution: Attribution

    @property
    def agrees(self) -> bool:
        """Whether it names what was planted."""
        return self.attribution.link is self.planted.link and not (self.is_control and self.attribution.complaints)

    @property
    def is_control(self) -> bool:
        """Whether nothing was planted."""
        return self.planted.link is None


def search_of_facts(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    del task, pick
    return Breakage(name="facts never found", queries={"search": JUNK}) if evidence.facts else None


def search_of_pictures(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    """Another thing is asked for, where the request tells what to ask for: else it would be a fact that was not used."""
    del pick
    if not evidence.pictures or any(picture.after for picture in evidence.pictures):
        return None
    kind = World.load().entities[task.facts.subjects[0].entity].kind
    query = "tile: Zinc" if kind != "element" else "thing: bread"
    return Breakage(name="pictures never found", queries={"image_search": query})


def reading_of_lookups(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    """One of the looked-up words is read as that of another task of the family."""
    looks = plan_for(task).lookups
    if not looks:
        return None
    place = pick.randrange(len(looks))
    fact, slot = evidence.facts[place], looks[place].slot
    right = {subject.entity for subject in task.facts.subjects}
    others = [
        one.slots[slot]
        for one in bindings(task.meta["family"])
        if one.slots[slot] != fact.value and not right & {*one.entities, *map_alikes(one.entities)}
    ]
    try:
        wrong = misheard(fact.statement, value=fact.value, instead=pick.choice(others))
    except ValueError:
        return None
    return Breakage(name="a fact misread", hears={fact.statement: wrong})


def reading_of_captions(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    """The caption's fact is read as that of another page."""
    caption = plan_for(task).caption
    if caption is None or evidence.caption_fact is None:
        return None
    fact = evidence.facts[evidence.caption_fact]
    pages = [World.load().page_titled(one.slots[caption.of]) for one in bindings(task.meta["family"])]
    values = {page.fact(caption.relation) for page in pages if page is not None}
    others = sorted(value for value in values if value and value != fact.value and CAPTION.fullmatch(value))
    try:
        wrong = misheard(fact.statement, value=fact.value, instead=pick.choice(others))
    except ValueError:
        return None
    return Breakage(name="a caption misread", hears={fact.statement: wrong})


def selection(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    """Another picture than that of one subject is chosen."""
    if not evidence.pictures:
        return None
    world = World.load()
    subject = pick.choice(task.facts.subjects).entity
    titles = {world.entities[one].name for one in (subject, *world.look_alikes(subject))}
    return Breakage(name="another picture chosen", avoids=frozenset(titles))


def grounding_style(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    del pick
    if task.facts.style == "plain" or not evidence.pictures:
        return None
    return Breakage(name="style left out", says=_saying(task, style="plain"))


def grounding_layout(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    del evidence, pick
    others = {"beside": "inset", "inset": "beside"}
    if task.facts.layout not in others:
        return None
    return Breakage(name="wrong layout", says=_saying(task, layout=others[task.facts.layout]))


def grounding_caption(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    del evidence, pick
    return Breakage(name="caption left out", says=_saying(task, caption=None)) if task.facts.caption else None


def grounding_order(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    del pick
    if len(evidence.pictures) != 2:
        return None

    def says(answer: dict[str, object]) -> dict[str, object]:
        references = answer["reference_images"]
        return answer | {"reference_images": references[::-1] if isinstance(references, list) else references}

    return Breakage(name="references in the wrong order", says=says)


def nothing(task: Task, evidence: Evidence, pick: random.Random) -> Breakage | None:
    """For links that break behind the agent."""
    del task, evidence, pick
    return NOTHING_BROKEN


def _saying(task: Task, **other: str | None) -> Callable[[dict[str, object]], dict[str, object]]:
    facts = task.facts
    words: dict[str, str | None] = {"layout": facts.layout, "style": facts.style, "caption": facts.caption, **other}
    said = wording(layout=words["layout"] or "", style=words["style"] or "", caption=words["caption"])
    return lambda answer: answer | {"gen_prompt": said}


def map_alikes(entities: Sequence[str]) -> list[str]:
    """Everything that looks like one of them."""
    return [alike for entity in entities for alike in World.load().look_alikes(entity)]


Break = Callable[[Task, Evidence, random.Random], Breakage | None]

BREAKS: Mapping[Link, Sequence[Break]] = {
    Link.SEARCH: (search_of_facts, search_of_pictures),
    Link.READING: (reading_of_lookups, reading_of_captions),
    Link.SELECTION: (selection,),
    Link.GROUNDING: (grounding_style, grounding_layout, grounding_caption, grounding_order),
    Link.GENERATION: (nothing,),
    Link.JUDGING: (nothing,),
}


def plant(
    tasks: Sequence[Task], oracle: EmbeddedOracle, *, counts: Mapping[Link, int], controls: int
) -> Iterator[Planted]:
    """The ways to break a link in turn, each on the next task that it fits; a task is used once."""
    free = list(tasks)
    wanted = [(link, BREAKS[link][number % len(BREAKS[link])]) for link in Link for number in range(counts[link])]
    for seed, (link, way) in enumerate([*wanted, *[(None, nothing)] * controls], start=1001):
        for task in free:
            evidence = oracle.evidence(task)
            broken = None if evidence is None else way(task, evidence, random.Random(f"{task.id}:{seed}"))
            if broken is not None:
                yield Planted(task=task, link=link, breakage=broken, seed=seed)
                free.remove(task)
                break
        else:
            raise ValueError(f"no task is left that {way.__name__} fits")


@asynccontextmanager
async def real_tools(store: ImageStore) -> AsyncGenerator[Toolbox]:
    """The embedded world over HTTP on loopback."""
    server = EmbeddedServer(World.load())
    at = await server.start()
    web = EmbeddedWeb()
    fetcher = Fetcher(FetchConfig(), allow={host: Address(host=at.host, port=at.port) for host in web.hosts()})
    reader = GuardedReader(fetcher=fetcher)
    toolbox = Toolbox(search=web, images=web, reader=reader, fetcher=fetcher, store=store, config=TOOLS)
    try:
        yield toolbox
    finally:
        await toolbox.close()
        await server.stop()


async def analysed(planted: Sequence[Planted], *, model: ImageModel, store: ImageStore) -> list[Found]:
    """Make every attempt and attribute it."""
    misdrawn = {one.seed for one in planted if one.link is Link.GENERATION}
    unfair = {one.task.id for one in planted if one.link is Link.JUDGING}
    generator = StoredGenerator(MisdrawingModel(model, seeds=misdrawn), store)
    judge = UnfairJudge(OfflineImageJudge(store=store), task_ids=unfair)
    oracle, bar = EmbeddedOracle(store=store), AnalysisConfig().bar
    counterfactuals = Counterfactuals(oracle=oracle, generator=generator, judge=judge, bar=bar, rules=RULES)
    rules = RewardConfig(alpha=0.0)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(each: Planted, tools: Toolbox) -> Found:
        speech = BrokenSpeech(RENDERER, each.breakage, seed=each.seed)
        teacher = Teacher(each.task, renderer=speech, seed=each.seed)
        agent = Agent(engine=teacher, tools=tools, renderer=RENDERER, config=CONFIG)
        async with gate:
            attempt = await score_trajectory(
                each.task,
                await agent.search(each.task, seed=each.seed),
                seed=each.seed,
                generator=generator,
                judges=[judge],
                compose=lambda trajectory, verdicts: compose(trajectory, verdicts, rules=rules),
            )
            return Found(planted=each, attempt=attempt, attribution=await counterfactuals.why(each.task, attempt))

    async with real_tools(store) as tools:
        return list(await asyncio.gather(*(one(each, tools) for each in planted)))


def planted_in(folder: Path, *, per_link: int, controls: int, seed: int) -> Iterator[Planted]:
    """Trajectories to be made at fresh tasks of every family, which are written to `folder`."""
    write_tasks(folder, train=2 * (len(Link) * per_link + controls), heldout=2, seed=seed, families="all")
    store = ImageStore(folder / "images")
    tasks = load_tasks(folder / "train.jsonl", store)
    yield from plant(tasks, EmbeddedOracle(store=store), counts=dict.fromkeys(Link, per_link), controls=controls)


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    from gen_searcher.engines.painter import EmbeddedPainter  # here: it loads torch, and tests of this file do not

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--seed", type=int, default=7, help="of the tasks")
    options = parser.parse_args(argv)
    per_link, controls = (5, 4) if options.quick else (34, 24)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        planted = list(planted_in(Path(folder), per_link=per_link, controls=controls, seed=options.seed))
        store = ImageStore(Path(folder) / "images")
        found = asyncio.run(analysed(planted, model=EmbeddedPainter(), store=store))
    out = sys.stdout.write
    names = [*Link, "none", "undecided"]
    out(f"{'planted':<12}" + "".join(f"{name:>12}" for name in names) + f"{'agree':>8}\n")
    by_link: dict[str, float] = {}
    for link in (*Link, None):
        rows = [one for one in found if one.planted.link is link]
        said = Counter(one.attribution.link or one.attribution.standing.value for one in rows)
        by_link[link or "none"] = sum(one.agrees for one in rows) / len(rows)
        cells = "".join(f"{said[name] or '.':>12}" for name in names)
        out(f"{link or 'none':<12}{cells}{by_link[link or 'none']:>8.1%}\n")
    for one in found:
        if not one.agrees:
            said = one.attribution
            out(
                f"{one.planted.task.id} {one.planted.task.meta['family']}: {one.planted.breakage.name} -> "
                f"{said.link or said.standing}: {said.why} {dict(one.attempt.judgements[0].parts) if one.attempt.judgements else ''}\n"
            )
    broken = [one for one in found if not one.is_control]
    report = {
        "agreement": sum(one.agrees for one in broken) / len(broken),
        "trajectories": len(broken),
        "by_link": {name: share for name, share in by_link.items() if name != "none"},
        "controls_without_a_complaint": by_link["none"],
        "controls": controls,
        "seconds": round(time.perf_counter() - began, 1),
    }
    out(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
