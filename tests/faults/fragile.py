"""Parts that break: what an actor is built from when its file is gone, and a listener that eats its process's memory."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from gen_searcher.points import Point
from gen_searcher.testing.fake_image_model import FakeImageModel


class NeedsFile(FakeImageModel):
    """An image model that cannot be built without its file; `builds` counts the times that somebody tried."""

    def __init__(self, file: Path, builds: Path) -> None:
        super().__init__()
        build(file, builds)


class BuiltLate:
    """Like a rollout or tool worker: its parts are built by the first call, and not by its constructor."""

    def __init__(self, file: Path, builds: Path) -> None:
        self._paths = (file, builds)

    async def ready(self) -> bool:
        build(*self._paths)
        return True

    async def reading(self) -> bool:
        return True


def build(file: Path, builds: Path) -> None:
    with builds.open("a") as told:
        told.write("one more\n")
    file.read_bytes()


class EatsMemory:
    """A `Listener`: the first process that finishes a rollout takes so much memory and keeps it."""

    def __init__(self, mark: Path, mib: int) -> None:
        """`mark` is made by the process that eats."""
        self._mark = mark
        self._mib = mib

    def __call__(self, point: Point) -> None:
        if point is not Point.ROLLOUT_FINISHED or self._mark.exists():
            return
        self._mark.touch()
        eaten = [b"\1" * (64 << 20) for _ in range(self._mib // 64)]
        threading.Event().wait()
        raise AssertionError(len(eaten))


class HoldsUntil:
    """A `Listener`: the driver stands still after it has booked so many steps, until `go` is there."""

    def __init__(self, go: Path, steps: int) -> None:
        self._go = go
        self._left = steps

    def __call__(self, point: Point) -> None:
        if point is not Point.STEP_BOOKED:
            return
        self._left -= 1
        while self._left == 0 and not self._go.exists():
            time.sleep(0.1)
