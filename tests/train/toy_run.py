"""A whole GRPO run on toy parts, in the process that calls it: real loop, stream, ledger, lease, keeper and files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.grpo.select import has_signal
from gen_searcher.ledger.book import Ledger
from gen_searcher.ledger.lease import RunLease
from gen_searcher.metrics.groups import step_metrics
from gen_searcher.points import heard_by
from gen_searcher.testing.fault_plan import FaultPlan
from gen_searcher.testing.toy_training import ToyAttempts, ToyLearner
from gen_searcher.train.attempt import AttemptRunner, GroupRules
from gen_searcher.train.curriculum import Curriculum, CurriculumRules
from gen_searcher.train.grpo import GrpoParts, GrpoRules, train
from gen_searcher.train.keeper import Keeper, KeepRules, resume
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.run import RunFolder, TurnReader
from gen_searcher.train.stop import Stop
from gen_searcher.train.stream import Step, StreamRules
from gen_searcher.train.tasks import visits
from gen_searcher.types import Group, StepReport, Task

GROUPS_PER_STEP = 3
GROUP_SIZE = 3
TASKS = [Task(id=f"task-{number}", prompt="draw", target=None, meta={}) for number in range(20)]


class ToyRecorder:
    """What `GrpoRecorder` does, without a crew to ask; asks for the end after `stop_after`."""

    def __init__(self, keeper: Keeper, *, stop: Stop, stop_after: int | None) -> None:
        self._keeper = keeper
        self._stop = stop
        self._stop_after = stop_after

    async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
        await self._keeper.book(step, taken, report, step_metrics(taken.groups, taken.dropped, report))
        if step == self._stop_after:
            self._stop.ask()

    def on_group(self, group: Group) -> None:
        """The ledger has it."""

    def on_wait(self, says: str) -> None:
        raise AssertionError(says)

    async def before_stop(self, step: int) -> None:
        self._keeper.log_unused(step)
        if step:
            await self._keeper.save(step)


def toy_rules(
    *, steps: int, max_staleness: int, spare_groups: int = 0, tries: int = 2, deadline_s: float = 30.0
) -> GrpoRules:
    return GrpoRules(
        steps=steps,
        row_tokens=64,
        objective=DEFAULT_OBJECTIVE,
        group=GroupRules(size=GROUP_SIZE, tries=tries, deadline_s=deadline_s),
        stream=StreamRules(
            groups_per_step=GROUPS_PER_STEP,
            max_staleness=max_staleness,
            max_dropped=18,
            outage=OutageRules(max_lost_frac=0.5),
            spare_groups=spare_groups,
        ),
        max_gap_nats=None,
        keep=partial(has_signal, objective=DEFAULT_OBJECTIVE),
        seed=11,
    )


def toy_run(
    root: Path,
    *,
    steps: int,
    max_staleness: int = 0,
    checkpoint_every_steps: int = 3,
    latency_s: float = 0.001,
    stop_after: int | None = None,
    began: Event | None = None,
    spare_groups: int = 0,
    curriculum: CurriculumRules | None = None,
    plan: Path | None = None,
) -> ToyAttempts:
    """Start the run or continue it; `weights.json` holds the weights once it is done. Sets `began` when it trains."""
    made: list[ToyAttempts] = []

    def own(learner: ToyLearner) -> ToyAttempts:
        made.append(ToyAttempts(learner, latency_s=latency_s))
        if began is not None:
            began.set()
        return made[0]

    rules = toy_rules(steps=steps, max_staleness=max_staleness, spare_groups=spare_groups)
    with heard_by(None if plan is None else FaultPlan(plan)):
        asyncio.run(
            toy_training(
                root,
                rules,
                own,
                checkpoint_every_steps=checkpoint_every_steps,
                stop_after=stop_after,
                curriculum=curriculum,
            )
        )
    return made[0]


async def toy_training(
    root: Path,
    rules: GrpoRules,
    attempts_of: Callable[[ToyLearner], AttemptRunner],
    *,
    checkpoint_every_steps: int,
    stop_after: int | None = None,
    curriculum: CurriculumRules | None = None,
) -> None:
    """The run itself, with attempts from anywhere."""
    folder = RunFolder(root=root)
    with RunLease.acquire(folder.leases) as lease, closing(Ledger.open(folder.ledger, fence=lease)) as ledger:
        found = resume(folder, ledger)
        learner, stop = ToyLearner(), Stop()
        if found.step:
            learner.load(folder.checkpoints.folder(found.step))
        keeper = Keeper(
            folder,
            ledger,
            learner,
            fence=lease,
            rules=KeepRules(
                steps=rules.steps,
                checkpoint_every_steps=checkpoint_every_steps,
                keep_checkpoints=2,
                objective=DEFAULT_OBJECTIVE,
            ),
            read=TurnReader(lambda ids: " ".join(map(str, ids))),
            config="seed: 11",
            tasks=TASKS,
            saved=found.step,
        )
        with closing(keeper):
            parts = GrpoParts(
                attempt=attempts_of(learner),
                learner=learner,
                scorer=learner,
                recorder=ToyRecorder(keeper, stop=stop, stop_after=stop_after),
                ledger=ledger,
                stop=stop,
            )
            thins = None if curriculum is None else Curriculum(ledger, rules=curriculum, seed=5)
            order = visits(
                TASKS,
                seed=5,
                begun=ledger.tally().begun,
                pending=ledger.pending(),
                thins=thins,
                made_before=found.made_before if rules.stream.spare_groups else 0,
            )
            await train(rules, parts, order, from_step=found.step)
            keeper.log_unused(rules.steps)
        (root / "weights.json").write_text(json.dumps([weight.hex() for weight in learner.weights]))
        ledger.mark_exported(rules.steps)
