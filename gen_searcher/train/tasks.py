"""The order of tasks: an endless, seeded stream that can start anywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Task


def shuffled_forever(tasks: Sequence[Task], *, seed: int, skip: int = 0) -> Iterator[Task]:
    """Every task once per epoch, each epoch in its own order; `skip` tasks are passed over (resume)."""
    if not tasks:
        raise ValueError("a stream needs at least one task")
    position = 0
    epoch = 0
    while True:
        order = list(tasks)
        random.Random(derive_seed(seed, "tasks", epoch)).shuffle(order)
        for task in order:
            if position >= skip:
                yield task
            position += 1
        epoch += 1
