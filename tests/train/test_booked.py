"""Groups and the books: what an earlier start of the run kept is neither made nor paid for again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.errors import WorldError
from gen_searcher.grpo.pictures import PictureRules
from gen_searcher.ledger.book import Ledger
from gen_searcher.ledger.recovery import roll_back
from gen_searcher.testing.toy_training import NoRival
from gen_searcher.train.attempt import GroupRules, run_attempt
from gen_searcher.train.booked import BookedGroups
from gen_searcher.train.tasks import Visit
from gen_searcher.train.useful import Stages, UsefulGroups
from gen_searcher.types import (
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Outcome,
    Reward,
    Task,
    Trajectory,
)

SIZE = 4
RULES = GroupRules(size=SIZE, tries=1)
VISIT = Visit(number=0, task=Task(id="t", prompt="draw", target=None, meta={}))
KEPT = 2


class World:
    """Searches and pictures, counted; `searches` says how many more succeed."""

    def __init__(self, *, searches: int) -> None:
        self.left = searches
        self.searched: list[int] = []
        self.drawn: list[int] = []

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        if self.left == 0:
            raise WorldError("no route to the provider")
        self.left -= 1
        self.searched.append(seed)
        grounding = Grounding(gen_prompt=str(seed), references=())
        return Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding)

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        self.drawn.append(seed)
        return ImageRef(sha256=f"{seed:064x}", width_px=1, height_px=1)

    def groups(self, ledger: Ledger, *, only_useful: bool) -> BookedGroups:
        stages = Stages(searcher=self, generator=self, judges=[], compose=rewarded)
        pictures = PictureRules(share=0.5, objective=DEFAULT_OBJECTIVE, drops_flat=False)
        return BookedGroups(
            ledger,
            rules=RULES,
            attempt=partial(run_attempt, searcher=self, generator=self, judges=[], compose=rewarded),
            whole=UsefulGroups(stages=stages, rules=RULES, pictures=pictures) if only_useful else None,
            seed=1,
        )


def rewarded(trajectory: Trajectory, judgements: Sequence[Judgement]) -> Reward:
    del judgements
    assert trajectory.grounding is not None
    return Reward(total=int(trajectory.grounding.gen_prompt) % 7 / 7, parts={})


@pytest.mark.parametrize("only_useful", [False, True])
async def test_a_group_that_lost_members_is_filled_up_by_the_next_start(tmp_path: Path, only_useful: bool) -> None:
    before, after = World(searches=KEPT), World(searches=SIZE)
    with closing(Ledger.open(tmp_path / "ledger.sqlite", fence=NoRival())) as ledger:
        short = await before.groups(ledger, only_useful=only_useful)(VISIT, 3, None)
    assert len(short.given_up) == SIZE - KEPT
    with closing(Ledger.open(tmp_path / "ledger.sqlite", fence=NoRival())) as ledger:
        assert "1 to be run again (2 of their attempts kept)" in str(roll_back(ledger, 0, cut_metrics=()))
        whole = await after.groups(ledger, only_useful=only_useful)(VISIT, 5, None)
        assert ledger.restored(0, VISIT.task) == whole
    assert len(whole.attempts) == SIZE
    assert set(after.searched) == set(short.given_up)
    assert len(after.drawn) == SIZE - KEPT, "nor is a picture paid for again"
    assert all(attempt in whole.attempts for attempt in short.attempts)
    assert whole.version == 3, "as old as the oldest of its attempts"


async def test_a_whole_group_of_which_nothing_was_kept_is_made_from_the_beginning(tmp_path: Path) -> None:
    world = World(searches=SIZE)
    with closing(Ledger.open(tmp_path / "ledger.sqlite", fence=NoRival())) as ledger:
        made: Group = await world.groups(ledger, only_useful=True)(VISIT, 3, None)
    assert (len(made.attempts), len(world.searched), made.version) == (SIZE, SIZE, 3)
