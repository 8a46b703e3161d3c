"""The data pipeline's stages with the run's own parts: its agent and tools, its generator, its judges, its held-out tasks."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue, TypeAdapter

from gen_searcher import __version__
from gen_searcher.agent.render import Renderer
from gen_searcher.bench.journal import Journal, digest
from gen_searcher.bench.pictures import PictureFiles
from gen_searcher.commands.fingerprints import fingerprint
from gen_searcher.commands.licences import UNKNOWN, licence_of
from gen_searcher.commands.remembered import shaping, shown_to
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.rewards import ChatServer
from gen_searcher.data.chat import ChatModel
from gen_searcher.data.collect import COLLECTED, collect_stage
from gen_searcher.data.dedupe import Heldout, dedupe
from gen_searcher.data.draw import DRAWN, draw_stage
from gen_searcher.data.export import export
from gen_searcher.data.heldout import read_heldout
from gen_searcher.data.propose import PROPOSAL, orders, propose_stage
from gen_searcher.data.rows import Proposal, Row, StageName
from gen_searcher.data.split import PLACED, split
from gen_searcher.data.stage import DataFolder, Inputs, Stage, StageReport, keep_report, read_stage, run_stage
from gen_searcher.data.verify import VERIFIED, verify_stage
from gen_searcher.data.writer import Writer, prompts_sha256
from gen_searcher.errors import ConfigError
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.progress import Progress

if TYPE_CHECKING:
    from gen_searcher.commands.data_workers import Workers

In = TypeVar("In")
Out = TypeVar("Out")
R = TypeVar("R", bound=Proposal | Row)

WRITER_PROMPT_TOKENS = 2000
"""What a question to the writer takes at most; its price is known before it is asked."""


@dataclass(slots=True)
class _Raised:
    workers: Workers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The stages of one run directory."""

    place: Workplace
    folder: DataFolder
    store: ImageStore
    raised: _Raised = field(default_factory=_Raised)
    """The session's workers, once a stage has asked for some."""

    @classmethod
    def open(cls, place: Workplace) -> Pipeline:
        """Nothing is read or raised yet."""
        return cls(place=place, folder=DataFolder(root=place.folder.root / "data"), store=place.store)

    def needs_workers(self, stage: StageName) -> bool:
        """Whether a stage asks tools, models or judges."""
        if stage is StageName.PROPOSE:
            sources = self.place.cfg.data.propose.sources.values()
            return any(one.kind == "writer" or (one.kind == "qa" and one.convert == "writer") for one in sources)
        return stage in (StageName.COLLECT, StageName.DRAW, StageName.VERIFY)

    async def run(self, stage: StageName) -> StageReport:
        """One stage, from its input file to its output file."""
        started_s = time.monotonic()
        match stage:
            case StageName.PROPOSE:
                return await self._propose()
            case StageName.COLLECT:
                return await self._collect()
            case StageName.DRAW:
                return await self._draw()
            case StageName.VERIFY:
                return await self._verify()
            case StageName.DEDUPE:
                inputs = self._rows(stage, VERIFIED, after=StageName.VERIFY)
                cfg = self.place.cfg.data.dedupe
                report = await dedupe(inputs, self._heldout(), cfg, folder=self.folder, store=self.store)
            case StageName.SPLIT:
                inputs = self._rows(stage, VERIFIED, after=StageName.DEDUPE)
                report = split(inputs, self.place.cfg.data.split, folder=self.folder)
            case StageName.EXPORT:
                placed = self._rows(stage, PLACED, after=StageName.SPLIT)
                report = export(placed, folder=self.folder, store=self.store)
        return keep_report(self.folder, replace(report, wall_s=time.monotonic() - started_s))

    def licence_of(self, url: str) -> str:
        """Of a page or picture of the embedded world; nobody states that of other places."""
        licence = licence_of(url, self.place.cfg.search)
        return "" if licence == UNKNOWN else licence

    async def _propose(self) -> StageReport:
        cfg = self.place.cfg.data.propose
        if not cfg.sources:
            raise ConfigError("data.propose.sources: there is none; e.g. experiment=laptop_data")
        with closing(Journal(self.folder.root / "journals" / "files.jsonl")) as files:
            inputs = await asyncio.to_thread(orders, cfg.sources, PictureFiles(self.store, files))
        asks = _settings(cfg.writer)
        who = digest(asks, cfg.temperature, prompts_sha256(), self.place.cfg.seed)
        stage = partial(propose_stage, cfg, who=who, seed=self.place.cfg.seed)
        if cfg.writer is None or not self.needs_workers(StageName.PROPOSE):
            return await self._through(stage(writer=None), inputs, concurrency=cfg.concurrency)
        async with self._workers() as workers:
            price = _most_usd(cfg.writer, read=WRITER_PROMPT_TOKENS, written=cfg.writer.max_tokens)
            caller = workers.caller("chatwriter", "propose", price_usd=price, timeout_s=cfg.writer.timeout_s)
            model = ChatModel(cfg.writer, caller, stage="propose")
            try:
                writer = Writer(model, temperature=cfg.temperature)
                return await self._through(stage(writer=writer), inputs, concurrency=cfg.concurrency)
            finally:
                await model.close()

    async def _collect(self) -> StageReport:
        cfg, each = self.place.cfg, self.place.cfg.data.collect
        inputs = self._rows(StageName.COLLECT, PROPOSAL, after=StageName.PROPOSE)
        policy = self.place.policy(each.policy if each.teacher == "policy" else "base")
        renderer = Renderer.load(policy)
        tokens = hashlib.sha256((policy / "tokenizer.json").read_bytes()).hexdigest()
        flaws = (cfg.sft.oversearch, cfg.sft.first_picture, cfg.sft.forgets_caption)
        parts = {
            "scripted": lambda: (*flaws, tokens),
            "chat": lambda: (_settings(each.chat), tokens),
            "policy": lambda: (fingerprint(policy),),
        }
        search = shaping(cfg.search.model_dump(mode="json"))
        taught_by = await asyncio.to_thread(parts[each.teacher])  # a policy is read in whole
        who = digest(each.teacher, taught_by, cfg.agent.model_dump(mode="json"), search, cfg.seed)
        if cfg.agent.looks:  # what the teacher sees is that model's
            who = digest(who, shaping(cfg.generator.model_dump(mode="json")))
        who = shown_to(who, cfg)
        async with self._workers() as workers:
            teaching_for = await workers.teaching(each.teacher, policy=policy, renderer=renderer)
            stage = collect_stage(teaching_for, renderer=renderer, who=who, seed=cfg.seed, source=PROPOSAL)
            return await self._through(stage, inputs, concurrency=each.concurrency)

    async def _draw(self) -> StageReport:
        cfg = self.place.cfg
        inputs = self._rows(StageName.DRAW, COLLECTED, after=StageName.COLLECT)
        capability = plug_capability(cfg.generator)
        who = digest(shaping(cfg.generator.model_dump(mode="json")), capability.revision, cfg.seed)
        async with self._workers() as workers:
            generator = await workers.generator()
            name = cfg.generator.target
            stage = draw_stage(generator, name=name, capability=capability, who=who, seed=cfg.seed)
            return await self._through(stage, inputs, concurrency=cfg.data.draw.concurrency)

    async def _verify(self) -> StageReport:
        cfg = self.place.cfg
        inputs = self._rows(StageName.VERIFY, DRAWN, after=StageName.DRAW)
        plugs = cfg.data.verify.judges or cfg.judges
        asked: JsonValue = {name: plug.model_dump(mode="json") for name, plug in plugs.items()}
        who = digest(__version__, shaping(asked))
        async with self._workers() as workers:
            stage = verify_stage(await workers.judges(plugs), cfg.data.verify, who=who)
            return await self._through(stage, inputs, concurrency=cfg.data.verify.concurrency)

    async def _through(self, stage: Stage[In, Out], inputs: Inputs[In], *, concurrency: int) -> StageReport:
        with Progress(f"data {stage.name}", total=len(inputs.rows)) as progress:
            return await run_stage(
                stage,
                inputs,
                self.folder,
                concurrency=concurrency,
                lost=self.place.cfg.data.lost,
                advance=lambda done: progress.advance(done, {}),
            )

    def _rows(self, stage: StageName, adapter: TypeAdapter[R], *, after: StageName) -> Inputs[R]:
        path = self.place.cfg.data.rows or self.folder.rows(after)
        return read_stage(path, adapter, stage=stage, store=self.store)

    def _heldout(self) -> Sequence[Heldout]:
        cfg = self.place.cfg
        with closing(Journal(self.folder.root / "journals" / "files.jsonl")) as files:
            pictures = PictureFiles(self.store, files)
            paths: list[Path] = list(cfg.data.dedupe.heldout)
            if cfg.data.dedupe.own_heldout:
                paths.append(self.place.task_file("heldout"))
                if cfg.search.world_server:
                    from gen_searcher.world.knowgen_mini import write_suite

                    paths.append(write_suite(self.place.folder.tasks))
            return [read_heldout(path, pictures) for path in paths]

    def _workers(self) -> Workers:
        from gen_searcher.commands.data_workers import Workers

        if self.raised.workers is None:
            self.raised.workers = Workers(self.place)
        return self.raised.workers


def _most_usd(server: ChatServer, *, read: int, written: int) -> float:
    """What one request costs at most."""
    return (read * server.usd_per_m_input + written * server.usd_per_m_output) / 1e6


def _settings(server: ChatServer | None) -> JsonValue:
    return None if server is None else shaping(server.model_dump(mode="json"))
