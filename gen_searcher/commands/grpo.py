"""`gen-searcher grpo`: train the policy on its own attempts. The same command resumes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.actors.learner import LearnerSpec
from gen_searcher.cluster.learners import LearnerRanks
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew, searcher_of
from gen_searcher.commands.workplace import Workplace, check_identity, fingerprint
from gen_searcher.config.root import RunConfig
from gen_searcher.engines.policy_files import read_tokens
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.grpo.select import has_attempts, has_signal
from gen_searcher.metrics.groups import step_metrics
from gen_searcher.metrics.progress import Progress
from gen_searcher.train.attempt import GroupRules
from gen_searcher.train.grpo import GrpoParts, GrpoRules, train
from gen_searcher.train.run import AttemptLog, MetricLog, RunFolder, TurnReader
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.stream import Step, StreamRules
from gen_searcher.train.tasks import shuffled_forever
from gen_searcher.types import Group, StepReport

log = logging.getLogger(__name__)

DROPPED_PER_GROUP = 6
"""Groups without signal that one group of a step may cost before the step goes on with what it has."""
KEPT_CHECKPOINTS = 2
"""The latest and the one before it."""


def run(cfg: RunConfig) -> int:
    """Train from the last checkpoint, or from the policy after SFT."""
    place = Workplace.open(cfg)
    start = place.policy("sft")
    check_identity(place.folder.root / "grpo" / "identity.json", {"policy": fingerprint(start)}, what="policy")
    from_step = place.folder.latest_checkpoint()
    if from_step >= cfg.grpo.steps:
        log.info("grpo is done: %d of %d steps; raise grpo.steps to go on", from_step, cfg.grpo.steps)
        return 0
    log.info("grpo starts at step %d of %d", from_step + 1, cfg.grpo.steps)
    with cluster_session(cfg.cluster, run_id=place.folder.root.name, command="grpo"):
        asyncio.run(train_run(place, start, from_step))
    return 0


async def train_run(place: Workplace, start: Path, from_step: int) -> None:
    """Raise the actors, train from `from_step` on, write the policy. Needs a cluster session."""
    cfg, folder = place.cfg, place.folder
    async with Crew.raise_actors(place, trains=start) as crew:
        rollouts = crew.rollouts(start, cfg.agent, follows_learner=True)
        spec = LearnerSpec(
            policy_folder=str(start),
            optim=cfg.grpo.optim.model_copy(update={"total_steps": cfg.grpo.steps}),
            images=str(folder.images),
            mode="grpo",
            objective=cfg.grpo.objective,
            temperature=cfg.agent.temperature,
            banned_ids=read_tokens(start).banned_ids,
        )
        learner = await crew.fleet.learner(spec, rollouts=rollouts)
        await crew.wait_ready()
        if cfg.reward.calibration.before_run:
            await crew.check_judges()
        if from_step:
            await learner.load(folder.checkpoint(from_step))
        with Progress("grpo", total=cfg.grpo.steps, done=from_step) as progress:
            recorder = GrpoRecorder(
                place,
                learner,
                progress=progress,
                policy=start,
                check_judges=crew.check_judges,
                reading=crew.reading,
            )
            rules, searcher = _rules(cfg), searcher_of(rollouts)
            parts = GrpoParts(
                attempt=crew.attempt(searcher),
                learner=learner,
                scorer=learner,
                recorder=recorder,
                group=crew.useful_groups(searcher, rules.group),
            )
            tasks = shuffled_forever(place.tasks("train"), seed=cfg.seed, skip=from_step * cfg.grpo.groups_per_step)
            with contextlib.closing(recorder):
                await train(rules, parts, tasks, from_step=from_step)
        await learner.save_policy(folder.policy("grpo"), base=start)
    log.info("the policy after grpo is in %s", folder.policy("grpo"))


def _rules(cfg: RunConfig) -> GrpoRules:
    grpo = cfg.grpo
    return GrpoRules(
        steps=grpo.steps,
        row_tokens=grpo.optim.row_tokens,
        objective=grpo.objective,
        seed=derive_seed(cfg.seed, "grpo"),
        max_gap_nats=grpo.max_logprob_gap_nats,
        keep=partial(has_signal if grpo.drop_flat_groups else has_attempts, objective=grpo.objective),
        group=GroupRules(size=grpo.group_size, tries=1 + grpo.lost_retries, deadline_s=cfg.cluster.call_timeout_s),
        stream=StreamRules(
            groups_per_step=grpo.groups_per_step,
            max_staleness=grpo.max_staleness,
            max_dropped=DROPPED_PER_GROUP * grpo.groups_per_step,
            max_lost_frac=cfg.cluster.max_lost_frac,
        ),
    )


class GrpoRecorder:
    """Writes down what the loop reports, and checkpoints when due."""

    def __init__(
        self,
        place: Workplace,
        learner: LearnerRanks,
        *,
        progress: Progress,
        policy: Path,
        check_judges: Callable[[], Awaitable[None]],
        reading: Callable[[], Awaitable[Mapping[str, float]]],
    ) -> None:
        """Open the files.

        `policy` is the folder that the rollout workers started from; `check_judges` raises for one that drifted;
        `reading` says what the workers asked and paid.
        """
        self._check_judges = check_judges
        self._reading = reading
        self._cfg = place.cfg
        self._folder = place.folder
        self._learner = learner
        self._progress = progress
        read = TurnReader(Renderer.load(policy).text)
        self._attempts = AttemptLog(place.folder.root / "grpo" / "attempts.jsonl", read=read)
        self._metrics = MetricLog(place.folder.root / "grpo" / "metrics.jsonl")
        self._groups = 0

    def close(self) -> None:
        """Close the files."""
        self._attempts.close()
        self._metrics.close()

    def on_group(self, group: Group) -> None:
        """Write the group's members at once."""
        self._groups += 1
        self._attempts.record(
            group,
            step=group.version + 1,
            group_id=f"{group.task.id}-{self._groups}",
            advantages=attempt_advantages(group, self._cfg.grpo.objective),
        )

    async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
        """Log the step; checkpoint every so often and at the end; calibrate the judges when asked to."""
        values = {**step_metrics(taken.groups, taken.dropped, report), **await self._reading()}
        self._metrics.log(step, values)
        self._progress.advance(step, _headline(values))
        if step % self._cfg.grpo.checkpoint_every_steps == 0 or step == self._cfg.grpo.steps:
            await save_checkpoint(self._learner, self._folder, step)
        every = self._cfg.reward.calibration.every_steps
        if every is not None and step % every == 0:
            await self._check_judges()


async def save_checkpoint(learner: LearnerRanks, folder: RunFolder, step: int) -> None:
    """Write a checkpoint, then delete the ones before the last two."""
    await learner.save(folder.checkpoint(step))
    for old in folder.checkpoint_steps()[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(folder.checkpoint(old))


def _headline(values: Mapping[str, float]) -> dict[str, float]:
    names = {
        "reward": "reward/mean",
        "image": "reward/image",
        "text": "reward/text",
        "gap": "learner/logprob_gap_max_nats",
        "lost": "rollout/lost_count",
        "step_s": "learner/step_s",
    }
    return {short: values[name] for short, name in names.items() if name in values}
