"""`gen-searcher grpo`: train the policy on its own attempts. The same command resumes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.actors.learner import LearnerSpec
from gen_searcher.cluster.foreman import Foreman
from gen_searcher.cluster.head import while_head_lives
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew
from gen_searcher.commands.identity import check_identity, grpo_identity, is_safe_in_grpo
from gen_searcher.commands.signals import stops_on_signals
from gen_searcher.commands.trackers import open_trackers
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.root import RunConfig
from gen_searcher.config.scale import read_scale
from gen_searcher.engines.policy_files import read_tokens
from gen_searcher.grpo.select import has_attempts, has_signal
from gen_searcher.ledger.book import Ledger
from gen_searcher.ledger.lease import RunLease
from gen_searcher.ledger.recovery import standing
from gen_searcher.metrics.groups import staleness, step_metrics
from gen_searcher.metrics.progress import Progress
from gen_searcher.protocols import Tracker
from gen_searcher.tools.spend import SpendFile
from gen_searcher.train.attempt import GroupRules
from gen_searcher.train.curriculum import Curriculum, CurriculumRules
from gen_searcher.train.grpo import GrpoParts, GrpoRules, train
from gen_searcher.train.keeper import Keeper, KeepRules, resume
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.run import TurnReader
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.stop import Stop
from gen_searcher.train.stream import Step, StreamRules
from gen_searcher.train.tail import TailRules
from gen_searcher.train.tasks import visits
from gen_searcher.types import Group, StepReport

log = logging.getLogger(__name__)

DROPPED_PER_GROUP = 6
"""Groups without signal that one group of a step may cost before the step goes on with what it has."""


def run(cfg: RunConfig) -> int:
    """Train from the last checkpoint, or from the policy after SFT."""
    place = Workplace.open(cfg)
    start = place.policy("sft")
    with place.lease() as lease:
        now = grpo_identity(place, start)
        check_identity(place.folder.identity, now, what="run", policy=start, is_safe=is_safe_in_grpo)
        load.write(cfg, command="grpo")
        with contextlib.closing(Ledger.open(place.folder.ledger, fence=lease)) as ledger:
            if is_done(place, start, ledger):
                return 0
            found = resume(place.folder, ledger)
            how = "starts" if found.is_new else "continues"
            log.info("grpo %s at step %d of %d", how, found.step + 1, cfg.grpo.steps)
            if not found.is_new:
                log.info("found: %s; %s", found, outside(place))
            place = scaled(place)
            with cluster_session(place.cfg.cluster, run_id=place.folder.root.name, command="grpo"):
                books = Books(ledger=ledger, lease=lease)
                run = train_run(place, start, books, from_step=found.step, made_before=found.made_before)
                asyncio.run(while_head_lives(run))
    return 0


def is_done(place: Workplace, start: Path, ledger: Ledger) -> bool:
    """Whether no step is left to make. Nothing is cut then: what was written of groups that no step has used stays.

    Where more steps were made than are asked for now, the policy of the last one is written, without any actor.

    Raises:
        UserError: Checkpoint and ledger do not belong together, or the checkpoint cannot be read.
    """
    steps, made = place.cfg.grpo.steps, place.folder.checkpoints.latest()
    standing(ledger, made)
    if made == steps == 0:
        log.info("grpo.steps=0: nothing is trained, and the run's policy stays that of sft")
        return True
    if made < steps or (made == steps and ledger.exported != made):
        return False
    if made == steps:
        log.info("grpo is done: %d of %d steps; raise grpo.steps to go on", made, steps)
        return True
    log.info("grpo has made %d steps already and grpo.steps asks for %d: nothing more is trained", made, steps)
    if ledger.exported != made:
        _export(place, start, step=made)
        ledger.mark_exported(made)
    log.info("the policy after step %d is in %s", made, place.folder.policy("grpo"))
    return True


def _export(place: Workplace, start: Path, *, step: int) -> None:
    """Write a checkpoint's policy in the place of one that an earlier start wrote; it is whole, or the old one, or none."""
    from gen_searcher.engines.policy_export import export_checkpoint

    target = place.folder.policy("grpo")
    new = target.with_name("policy.new")
    shutil.rmtree(new, ignore_errors=True)  # of a start that was killed
    export_checkpoint(place.folder.checkpoints.folder(step), new, base=start)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def scaled(place: Workplace) -> Workplace:
    """With the numbers of workers that somebody has asked for since the run's start. Raises ConfigError."""
    asked = read_scale(place.folder.scale)
    cluster = asked.over(place.cfg.cluster)
    if cluster == place.cfg.cluster:
        return place
    log.info("%s asks for %s; delete it to go by the settings again", place.folder.scale, asked)
    return replace(place, cfg=place.cfg.model_copy(update={"cluster": cluster}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The run's ledger, and the right to write it."""

    ledger: Ledger
    lease: RunLease


async def train_run(place: Workplace, start: Path, books: Books, *, from_step: int, made_before: int = 0) -> None:
    """Raise the actors, train from `from_step` on, write the policy. Needs a cluster session.

    `made_before` is the last step that was made once and whose weights were lost; 0 for none.

    Raises:
        Interrupted: SIGTERM or SIGINT came; the last published step is saved.
    """
    cfg, folder = place.cfg, place.folder
    stop = Stop()
    with stops_on_signals(stop):
        async with Crew.raise_actors(place, trains=start) as crew:
            rollouts = crew.rollouts(start, cfg.agent, follows_learner=True)
            learner = await stop.unless(crew.fleet.learner(learner_spec(place, start), rollouts=rollouts))
            await stop.unless(crew.wait_ready())
            if cfg.reward.calibration.before_run:
                await stop.unless(crew.check_judges())
            if from_step:
                await learner.load(folder.checkpoints.folder(from_step))
            tools = crew.tools
            foreman = Foreman(
                {"rollout": rollouts, "generator": crew.generators, "reward": crew.rewards, "tool": tools},
                scale_file=folder.scale,
                names=lambda: crew.fleet.names_of(tools),
                note=partial(books.ledger.note, "workers"),
                learner_nodes=await learner.nodes(),
                on_learner_leaves=stop.ask,
            )
            tasks = place.tasks("train")
            keeper = Keeper(
                folder,
                books.ledger,
                learner,
                fence=books.lease,
                rules=_keep_rules(cfg),
                read=TurnReader(Renderer.load(start).text),
                config=load.dump_yaml(cfg),
                tasks=tasks,
                saved=from_step,
            )
            with (
                Progress("grpo", total=cfg.grpo.steps, done=from_step) as progress,
                contextlib.closing(keeper),
                contextlib.closing(open_trackers(cfg, stage="grpo")) as trackers,
            ):
                rules, searcher = rules_of(cfg), crew.searcher(rollouts)
                parts = GrpoParts(
                    attempt=crew.attempt(searcher, samples=cfg.grpo.pictures.samples),
                    learner=learner,
                    scorer=learner,
                    recorder=GrpoRecorder(cfg, keeper, crew, foreman, progress=progress, trackers=trackers),
                    ledger=books.ledger,
                    stop=stop,
                    group=crew.useful_groups(searcher, rules.group),
                )
                ledger = books.ledger
                order = visits(
                    tasks,
                    seed=cfg.seed,
                    begun=ledger.tally().begun,
                    pending=ledger.pending(),
                    thins=curriculum(cfg, ledger),
                    made_before=made_before if cfg.grpo.oversample.groups else 0,
                )
                await foreman.beside(train(rules, parts, order, from_step=from_step))
                keeper.log_unused(cfg.grpo.steps)
            await learner.save_policy(folder.policy("grpo"), base=start)
            books.ledger.mark_exported(cfg.grpo.steps)
    log.info("the policy after grpo is in %s", folder.policy("grpo"))


def outside(place: Workplace) -> str:
    """What the run has paid and recorded outside so far, for the first lines of a resumed run."""
    spent = SpendFile(place.folder.root / "spend.json").read()
    paid = ", ".join(f"{name} ${usd:.2f}" for name, usd in spent.items()) or "nothing"
    return f"committed so far: {paid}; cassette: {place.cfg.cassette.mode}"


def learner_spec(place: Workplace, start: Path) -> LearnerSpec:
    """What the learner of the policy in `start` is built from."""
    cfg = place.cfg
    return LearnerSpec(
        policy_folder=str(start),
        optim=cfg.grpo.optim.model_copy(update={"total_steps": cfg.grpo.steps}),
        images=str(place.folder.images),
        mode="grpo",
        objective=cfg.grpo.objective,
        temperature=cfg.agent.temperature,
        banned_ids=read_tokens(start).banned_ids,
    )


def curriculum(cfg: RunConfig, ledger: Ledger) -> Curriculum | None:
    """What leaves out tasks that have nothing to teach; None visits all of them."""
    chosen = cfg.grpo.curriculum
    if chosen is None:
        return None
    rules = CurriculumRules(
        last_groups=chosen.last_groups, min_share=chosen.min_share, drops_flat=cfg.grpo.drop_flat_groups
    )
    return Curriculum(ledger, rules=rules, seed=cfg.seed)


def _keep_rules(cfg: RunConfig) -> KeepRules:
    return KeepRules(
        steps=cfg.grpo.steps,
        checkpoint_every_steps=cfg.grpo.checkpoint_every_steps,
        keep_checkpoints=cfg.grpo.keep_checkpoints,
        objective=cfg.grpo.objective,
    )


def rules_of(cfg: RunConfig) -> GrpoRules:
    """What the loop decides by."""
    grpo = cfg.grpo
    return GrpoRules(
        steps=grpo.steps,
        row_tokens=grpo.optim.row_tokens,
        objective=grpo.objective,
        seed=derive_seed(cfg.seed, "grpo"),
        max_gap_nats=grpo.max_logprob_gap_nats,
        attempts_in_flight=grpo.attempts_in_flight,
        keep=partial(has_signal if grpo.drop_flat_groups else has_attempts, objective=grpo.objective),
        group=GroupRules(
            size=grpo.group_size,
            tries=1 + grpo.lost_retries,
            deadline_s=cfg.cluster.call_timeout_s,
            tail=None if grpo.tail is None else TailRules(members=grpo.tail.members, wait_s=grpo.tail.wait_s),
            spare=grpo.oversample.members,
        ),
        stream=StreamRules(
            groups_per_step=grpo.groups_per_step,
            max_staleness=grpo.max_staleness,
            max_dropped=DROPPED_PER_GROUP * grpo.groups_per_step,
            spare_groups=grpo.oversample.groups,
            outage=OutageRules(
                max_lost_frac=cfg.cluster.max_lost_frac,
                wait_s=cfg.cluster.outage_wait_s,
                retry_s=cfg.cluster.outage_retry_s,
            ),
        ),
    )


class GrpoRecorder:
    """Books what the loop reports, shows it, and calibrates the judges when asked to."""

    def __init__(
        self, cfg: RunConfig, keeper: Keeper, crew: Crew, foreman: Foreman, *, progress: Progress, trackers: Tracker
    ) -> None:
        """`crew` says what the workers asked and paid, and checks the judges; `foreman` how many there are."""
        self._cfg = cfg
        self._keeper = keeper
        self._crew = crew
        self._foreman = foreman
        self._progress = progress
        self._trackers = trackers

    def on_group(self, group: Group) -> None:
        """Nothing to do: the ledger has it, and the step that uses it writes its lines."""

    def on_wait(self, says: str) -> None:
        """Show it."""
        self._progress.note(says)

    async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
        """Book and show the step."""
        values = {
            **step_metrics(taken.groups, taken.dropped, report),
            **staleness(taken.groups, version=step - 1),
            **({"train/late_count": float(len(taken.late))} if self._cfg.grpo.oversample.groups else {}),
            **await self._crew.reading(self._foreman.last_words()),
            **self._foreman.workers(),
        }
        await self._keeper.book(step, taken, report, values)
        self._trackers.log(step, values)
        self._progress.advance(step, headline(values))
        every = self._cfg.reward.calibration.every_steps
        if every is not None and step % every == 0:
            await self._crew.watch_judges()

    async def before_stop(self, step: int) -> None:
        """Write the lines of what no step has used, and a checkpoint unless the step has one."""
        self._keeper.log_unused(step)
        if step:
            await self._keeper.save(step)
        if self._keeper.saved:
            log.info("step %d of %d is saved", self._keeper.saved, self._cfg.grpo.steps)


def headline(values: Mapping[str, float]) -> dict[str, float | str]:
    """What the progress line shows of a step."""
    names = {
        "reward": "reward/mean",
        "image": "reward/image",
        "text": "reward/text",
        "gap": "learner/logprob_gap_max_nats",
        "lost": "rollout/lost_count",
        "step_s": "learner/step_s",
    }
    return {
        **{short: values[name] for short, name in names.items() if name in values},
        "calls": f"{_calls(values, 'paid'):.0f}/{_calls(values, 'asked'):.0f} paid",
    }


def _calls(values: Mapping[str, float], kind: str) -> float:
    """Calls of all stages: tools, generator, judges. What a cache or the cassette answers is asked and not paid."""
    return sum(value for name, value in values.items() if name.endswith(f"/{kind}_calls"))
