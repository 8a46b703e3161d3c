"""Ends vLLM's processes with the one that started them: a killed rollout actor must not leave an engine on its device."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess

LOOK_S = 1.0
"""How often to look who the parent is: for a pipe that another child of the parent has inherited and keeps open."""


def end_with_parent() -> None:
    """End this process as soon as the process that started it has ended, however that ended.

    Does nothing in a process that multiprocessing has not started: vLLM starts its engines and workers with it, Ray its
    actors without. A signal that the kernel sends at the parent's death would come with the end of the *thread* that
    started this process, which may be one of a pool.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent, os.getppid()), daemon=True, name="parent-watch").start()


def _watch(parent: BaseProcess, parent_id: int) -> None:
    """`join` returns when the pipe that the parent holds closes; an orphan's parent is another process."""
    while parent.is_alive() and os.getppid() == parent_id:
        parent.join(LOOK_S)
    os._exit(1)  # nothing is left to save, and whoever has asked for a tidy end is gone
