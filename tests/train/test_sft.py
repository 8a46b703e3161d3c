"""Demonstrations by a teacher: all of them, or a run that ends and says why."""

from __future__ import annotations

import pytest

from gen_searcher.errors import GeneratorInvalid, ProviderDown, StopRun, WorldError
from gen_searcher.protocols import Searcher
from gen_searcher.train.sft import collect
from gen_searcher.types import Grounding, Outcome, Task, Trajectory

TASKS = [Task(id=f"t{number}", prompt="draw", target=None, meta={}) for number in range(3)]


class Searches:
    """Finds an answer to every task, or has its world fail at one of them."""

    def __init__(self, *, error: WorldError | None = None, finds: bool = True) -> None:
        self.error = error
        self.finds = finds

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        if self.error is not None and task.id == "t1":
            raise self.error
        grounding = Grounding(gen_prompt="a tree", references=()) if self.finds else None
        outcome = Outcome.GROUNDED if self.finds else Outcome.OUT_OF_TURNS
        return Trajectory(task_id=task.id, turns=(), outcome=outcome, grounding=grounding)


async def made(searcher: Searcher) -> list[str]:
    found = await collect(TASKS, lambda task, seed: searcher, count=5, concurrency=2, seed=3)
    return sorted(each.task.id for each in found)


async def test_every_task_is_demonstrated_as_often_as_the_count_says() -> None:
    ids = await made(Searches())
    assert len(ids) == 5
    assert set(ids) == {"t0", "t1", "t2"}


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("error", "code"), [(ProviderDown("no connection", "search"), 75), (GeneratorInvalid("too long"), 3)]
)
async def test_a_lost_demonstration_ends_the_command_with_a_code_and_the_task(error: WorldError, code: int) -> None:
    with pytest.raises(StopRun, match=r"of 5, task t1, is lost: (search: no connection|generate: too long)") as caught:
        await made(Searches(error=error))
    assert caught.value.exit_code == code


async def test_a_teacher_without_an_answer_ends_the_command() -> None:
    with pytest.raises(StopRun, match="none of 5 demonstrations") as caught:
        await made(Searches(finds=False))
    assert caught.value.exit_code == 3
