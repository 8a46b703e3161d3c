"""Which model of a mixture draws a task: the rule, as seeds.

The task's id and the run's seed say which model it is (`member_of`). A mixture draws with the model that a picture's seed
names, seed modulo number of models, so every seed of that task's pictures is moved to the nearest one that names it.
"""

from __future__ import annotations

from gen_searcher.drawing import Capability
from gen_searcher.train.attempt import PictureSeed
from gen_searcher.train.sampled import naming
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Task


def member_of(task: Task, *, run_seed: int, members: int) -> int:
    """Place of the task's model among the members, in the order of their names: the same for all of its attempts."""
    return derive_seed("mixture", run_seed, task.id) % members


def one_model_a_task(seeds: PictureSeed, *, run_seed: int, capability: Capability) -> PictureSeed:
    """The same seeds, moved so that all pictures of a task come from one model; `seeds` itself for a single model."""
    count = len(capability.members)
    if not count:
        return seeds

    def moved(task: Task, seed: int) -> int:
        return naming(member_of(task, run_seed=run_seed, members=count), seeds(task, seed), members=count)

    return moved
