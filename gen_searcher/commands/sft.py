"""`gen-searcher sft`: teach the policy the agent's language from demonstrations."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from gen_searcher.agent.look import Looker
from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.actors.learner import LearnerSpec
from gen_searcher.cluster.fleet import Fleet
from gen_searcher.cluster.head import while_head_lives
from gen_searcher.cluster.roles import GeneratorPool, ToolPool
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.identity import check_identity, is_safe_in_sft, sft_identity
from gen_searcher.commands.sft_samples import own_samples, read_samples, within_cutoff
from gen_searcher.commands.signals import stops_on_signals
from gen_searcher.commands.trackers import open_trackers
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.root import RunConfig
from gen_searcher.data.demonstrations import LabelledSample, write_demonstrations
from gen_searcher.ledger.book import Fence
from gen_searcher.metrics.progress import Progress
from gen_searcher.protocols import Searcher
from gen_searcher.train.looking import LookingSearcher, LookRules
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.sft import SftRules, collect, train_sft
from gen_searcher.train.sft_keeper import SftKeeper, resume_sft, samples_digest
from gen_searcher.train.stop import Stop
from gen_searcher.types import StepReport, Task
from gen_searcher.world.teacher import Teacher, TeacherFlaws

log = logging.getLogger(__name__)

TEACHER_CONCURRENCY = 16
"""Tasks that the teacher works on at once: it only waits for tools."""


def run(cfg: RunConfig) -> int:
    """Demonstrations, then epochs over them; done once per run directory. The same command resumes."""
    place = Workplace.open(cfg)
    done = place.folder.policy("sft")
    base = place.policy("base")
    with place.lease() as lease:
        now = sft_identity(place, base)
        check_identity(place.folder.sft_identity, now, what="fine-tuning", policy=base, is_safe=is_safe_in_sft)
        load.write(cfg, command="sft")
        if (done / "config.json").exists():
            log.info("sft is done: %s (delete %s to train again)", done, done.parent)
            place.folder.sft_checkpoints.remove()
            return 0
        from_step = resume_sft(place.folder)
        if from_step:
            log.info("sft continues at step %d", from_step + 1)
        with cluster_session(cfg.cluster, run_id=place.folder.root.name, command="sft"):
            asyncio.run(while_head_lives(_sft(place, base, fence=lease, from_step=from_step)))
        place.folder.sft_checkpoints.remove()
    return 0


async def _sft(place: Workplace, base: Path, *, fence: Fence, from_step: int) -> None:
    """Raises Interrupted when SIGTERM or SIGINT came; the last step is saved."""
    stop = Stop()
    with stops_on_signals(stop):
        fleet = Fleet(
            cluster=place.cfg.cluster, folder=place.folder, limits=place.cfg.limits, cassette=place.cfg.cassette
        )
        samples = await stop.unless(_samples(place, fleet, base))
        await _train(place, base, fleet, samples, stop=stop, fence=fence, from_step=from_step)


async def _train(
    place: Workplace,
    base: Path,
    fleet: Fleet,
    labelled: Sequence[LabelledSample],
    *,
    stop: Stop,
    fence: Fence,
    from_step: int,
) -> None:
    cfg, folder = place.cfg, place.folder
    samples = within_cutoff(labelled, cfg.sft, report=folder.root / "sft" / "dropped.jsonl")
    seen = {"demonstrations": await asyncio.to_thread(samples_digest, samples)}
    check_identity(folder.root / "sft" / "samples.json", seen, what="set of demonstrations")
    rules = SftRules(
        epochs=cfg.sft.epochs,
        batch_samples=cfg.sft.batch_samples,
        row_tokens=cfg.sft.optim.row_tokens,
        seed=cfg.seed,
    )
    steps = rules.steps(len(samples))
    spec = LearnerSpec(
        policy_folder=str(base),
        optim=cfg.sft.optim.model_copy(update={"total_steps": steps}),
        images=str(folder.images),
        mode="sft",
        temperature=1.0,
        banned_ids=(),
    )
    learner = await stop.unless(fleet.learner(spec, rollouts=None))
    if from_step:
        await learner.load(folder.sft_checkpoints.folder(from_step))
    keeper = SftKeeper(folder, learner, fence=fence, every_steps=cfg.sft.checkpoint_every_steps, saved=from_step)
    with (
        Progress("sft", total=steps, done=from_step) as progress,
        contextlib.closing(keeper),
        contextlib.closing(open_trackers(cfg, stage="sft")) as trackers,
    ):

        async def after_step(step: int, report: StepReport) -> None:
            values = {"sft/loss": report.loss, "learner/grad_norm": report.grad_norm, **report.metrics}
            await keeper.book(step, values)
            trackers.log(step, values)
            progress.advance(step, {"loss": report.loss, "tok/s": report.metrics["learner/tokens_per_s"]})
            if stop.is_asked:
                await keeper.save(step)
                log.info("step %d of %d is saved", step, steps)
                stop.end()

        await train_sft(rules, samples, learner=learner, after_step=after_step, from_step=from_step)
    await learner.save_policy(folder.policy("sft"), base=base)
    log.info("the policy after sft is in %s", folder.policy("sft"))


async def _samples(place: Workplace, fleet: Fleet, base: Path) -> list[LabelledSample]:
    cfg = place.cfg
    path = cfg.sft.demonstrations or place.folder.root / "sft" / "demos.jsonl"
    renderer = Renderer.load(base)
    if path.exists():
        return await asyncio.to_thread(read_samples, path, place, renderer=renderer)
    accounts = fleet.accounts()  # lives while somebody holds it
    tools = fleet.tools(cfg.search, cfg.agent)
    generators = fleet.generators(cfg.generator) if cfg.agent.looks else None
    await asyncio.gather(*(pool.wait_ready() for pool in (accounts, tools, generators) if pool is not None))
    looks = None if generators is None else LookRules(agent=cfg.agent, max_images=cfg.policy.max_images)
    flaws = TeacherFlaws(
        oversearch=cfg.sft.oversearch, first_picture=cfg.sft.first_picture, forgets_caption=cfg.sft.forgets_caption
    )

    def searcher_for(task: Task, seed: int) -> Searcher:
        teacher = Teacher(task, renderer=renderer, flaws=flaws, seed=seed)
        agent = Agent(
            engine=teacher,
            tools=ToolPool(tools),
            renderer=renderer,
            config=cfg.agent,
            max_images=cfg.policy.max_images,
            max_prompt_chars=plug_capability(cfg.generator).max_prompt_chars,
        )
        if generators is None or looks is None:
            return agent
        looker = Looker(agent, place.store, view_side_px=cfg.agent.tools.view_side_px)
        return LookingSearcher(agent, looker, GeneratorPool(generators), rules=looks)

    log.info("the teacher makes %d demonstrations", cfg.sft.demonstration_count)
    demonstrations = await collect(
        place.tasks("train"),
        searcher_for,
        count=cfg.sft.demonstration_count,
        concurrency=TEACHER_CONCURRENCY,
        seed=derive_seed(cfg.seed, "teacher"),
    )
    await tools.close()
    if generators is not None:
        generators.stop()
    write_demonstrations(path, demonstrations)
    return own_samples(demonstrations, place, renderer=renderer)
