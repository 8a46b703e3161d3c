"""All stages in a row, in one process: the embedded world, its script as teacher, the run's tools, a fake image model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.bench.journal import Journal
from gen_searcher.bench.pictures import PictureFiles
from gen_searcher.config.agent import AgentConfig, FetchConfig
from gen_searcher.config.data import DedupeConfig, ProposeConfig, SplitConfig, VerifyConfig, WorldSource
from gen_searcher.data.collect import COLLECTED, Teaching, collect_stage
from gen_searcher.data.dedupe import dedupe
from gen_searcher.data.draw import DRAWN, draw_stage
from gen_searcher.data.export import export
from gen_searcher.data.propose import PROPOSAL, orders, propose_stage
from gen_searcher.data.rows import StageName
from gen_searcher.data.sharegpt import PictureRules, read_sharegpt
from gen_searcher.data.split import PLACED, split
from gen_searcher.data.stage import DataFolder, read_stage, run_stage
from gen_searcher.data.tasks import load_tasks
from gen_searcher.data.verify import VERIFIED, verify_stage
from gen_searcher.drawing import Capability
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.types import Task
from gen_searcher.world.providers import EmbeddedWeb
from gen_searcher.world.server import EmbeddedServer
from gen_searcher.world.teacher import Teacher, TeacherFlaws
from gen_searcher.world.world import World
from tests.data.pipeline_parts import lines

RENDERER = Renderer.over_bytes()
AGENT = AgentConfig(prompt="brief", max_context_tokens=60_000, max_references=2)
FORGETFUL = TeacherFlaws(oversearch=0.0, first_picture=0.0, forgets_caption=0.5)
TASKS = 16


@asynccontextmanager
async def toolbox(store: ImageStore) -> AsyncGenerator[Toolbox]:
    server, web = EmbeddedServer(World.load()), EmbeddedWeb()
    address = await server.start()
    allow = {host: Address(host=address.host, port=address.port) for host in web.hosts()}
    fetcher = Fetcher(FetchConfig(), allow=allow)
    tools = Toolbox(
        search=web, images=web, reader=GuardedReader(fetcher=fetcher), fetcher=fetcher, store=store, config=AGENT.tools
    )
    try:
        yield tools
    finally:
        await tools.close()
        await server.stop()


async def test_from_nothing_to_files_that_training_reads(tmp_path: Path) -> None:
    folder, store = DataFolder(root=tmp_path / "data"), ImageStore(tmp_path / "images")
    with closing(Journal(tmp_path / "files.jsonl")) as files:
        ordered = orders({"w": WorldSource(kind="world", count=TASKS)}, PictureFiles(store, files))
    stage = propose_stage(ProposeConfig(), writer=None, who="", seed=0)
    assert (await run_stage(stage, ordered, folder, concurrency=4)).made == TASKS

    async with toolbox(store) as tools:

        def teaching_for(task: Task, seed: int) -> Teaching:
            engine = Teacher(task, renderer=RENDERER, flaws=FORGETFUL, seed=seed)
            agent = Agent(engine=engine, tools=tools, renderer=RENDERER, config=AGENT)
            return Teaching(searcher=agent, name=lambda: "script")

        rows = read_stage(folder.rows(StageName.PROPOSE), PROPOSAL, stage=StageName.COLLECT, store=store)
        collect = collect_stage(teaching_for, renderer=RENDERER, who="", seed=0, source=PROPOSAL)
        assert (await run_stage(collect, rows, folder, concurrency=4)).made == TASKS

    generator = StoredGenerator(FakeImageModel(), store)
    draw = draw_stage(generator, name="fake", capability=Capability(usd_per_picture=0.04), who="", seed=0)
    worked = read_stage(folder.rows(StageName.COLLECT), COLLECTED, stage=StageName.DRAW, store=store)
    assert (await run_stage(draw, worked, folder, concurrency=4)).cost_usd == pytest.approx(TASKS * 0.04)

    cfg = VerifyConfig(floors={"needs_search": 0.5, "text": 1.0})
    pictured = read_stage(folder.rows(StageName.DRAW), DRAWN, stage=StageName.VERIFY, store=store)
    verify = verify_stage([OfflineTextJudge(store=store)], cfg, who="")
    report = await run_stage(verify, pictured, folder, concurrency=4)
    captioned = {row.value.id for row in rows.rows if row.value.facts.caption is not None}
    forgotten = {str(one["id"]) for one in lines(folder.rejects(StageName.VERIFY))}
    assert set() < forgotten < captioned  # the script forgets every other caption
    assert report.rejected == {"low_text": len(forgotten)}

    checked = read_stage(folder.rows(StageName.VERIFY), VERIFIED, stage=StageName.DEDUPE, store=store)
    strict = DedupeConfig(prompt_similarity=1.0, picture_bits=None)
    unique = await dedupe(checked, [], strict, folder=folder, store=store)
    assert unique.made == TASKS - len(forgotten)
    new = read_stage(folder.rows(StageName.DEDUPE), VERIFIED, stage=StageName.SPLIT, store=store)
    split(new, SplitConfig(sft=0.5, rl=0.5), folder=folder)
    placed = read_stage(folder.rows(StageName.SPLIT), PLACED, stage=StageName.EXPORT, store=store)
    export(placed, folder=folder, store=store)
    counts = {name: sum(row.value.split == name for row in placed.rows) for name in ("sft", "rl")}
    assert counts["sft"] > 0
    assert counts["rl"] == unique.made - counts["sft"] > 0
    pictures = PictureRules(store=store, max_pixels=160_000)
    samples = read_sharegpt(folder.export / "sft.jsonl", renderer=RENDERER, pictures=pictures)
    assert [len(one.sample.images) > 0 for one in samples] == [True] * counts["sft"]
    tasks = load_tasks(folder.export / "rl.jsonl", store)
    assert [task.facts.subjects != () for task in tasks] == [True] * counts["rl"]
