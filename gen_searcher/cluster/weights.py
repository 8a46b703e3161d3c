"""Current weights as a fact on disk: learner -> v<N>.safetensors + current.json -> engines, restarted ones too."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from gen_searcher.config.weights import WeightPlace
from gen_searcher.engines.weight_files import SHARED_MEMORY, SPARE
from gen_searcher.errors import ConfigError
from gen_searcher.protocols import PolicyEngine
from gen_searcher.types import WeightSource

log = logging.getLogger(__name__)

NEVER_LOADED = -1
"""No version has this number."""
VERSIONS_AT_ONCE = 2
"""The one that is served and the one that is being written, or the spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """What every engine must sample from."""

    version: int
    source: WeightSource


class WeightFollower:
    """Keeps one engine on the published weights."""

    def __init__(self, board: WeightBoard | None) -> None:
        """Without a board nothing is ever published. The engine starts from its policy folder."""
        self._board = board
        self._version = NEVER_LOADED
        self._loading = asyncio.Lock()

    def check(self) -> None:
        """Raise FileNotFoundError when this node cannot see what is published."""
        if self._board is not None:
            self._board.current()

    async def catch_up(self, engine: PolicyEngine) -> None:
        """Return once the engine samples from what is published; at once when it does already.

        A version that is replaced while it is loaded, which only happens to an engine that restarts, is not the last.
        """
        if self._board is None:
            return
        async with self._loading:
            while (current := self._board.current()) is not None and current.version != self._version:
                try:
                    await engine.load_weights(current.version, current.source)
                except FileNotFoundError:
                    if self._board.current() == current:
                        raise
                    continue
                self._version = current.version


class WeightBoard:
    """A folder that holds the latest published weights; a restarted engine reads it before it serves."""

    def __init__(self, folder: Path) -> None:
        """`folder` is shared by learner and rollout workers."""
        self.folder = folder

    def path(self, version: int) -> Path:
        """Where the weights of `version` go."""
        return self.folder / f"v{version}.safetensors"

    def announce(self, version: int) -> None:
        """Make `version` current; atomic."""
        temporary = self.folder / "current.json.part"
        temporary.write_text(json.dumps({"version": version, "path": str(self.path(version))}), encoding="utf-8")
        temporary.replace(self.folder / "current.json")

    def current(self) -> PublishedWeights | None:
        """The published weights, or None before the first publish of this run.

        Raises:
            FileNotFoundError: This node cannot see what the learner publishes; it must not serve what it started from.
        """
        path = self.folder / "current.json"
        if not path.exists():
            if not self.folder.exists():
                raise FileNotFoundError(
                    f"{self.folder} is not on this node: it joined after the run had chosen to publish in shared memory; "
                    "set policy.weights.place=run_dir and run the same command again"
                )
            return None
        row = json.loads(path.read_text(encoding="utf-8"))
        return PublishedWeights(version=int(row["version"]), source=WeightSource(path=str(row["path"])))

    def clear(self) -> None:
        """Forget weights of an earlier process of this run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in [*self.folder.glob("*.safetensors*"), *self.folder.glob("current.json*")]:
            path.unlink()

    def drop_older(self, version: int) -> None:
        """Delete weights before `version`; no engine can need them once `version` is published everywhere.

        In shared memory the last of them stays as the spare, whose pages the next version is written into.
        """
        for path in self.folder.glob("v*.safetensors"):
            if path == self.path(version):
                continue
            if self.folder.is_relative_to(SHARED_MEMORY):
                path.replace(self.folder / SPARE)
            else:
                path.unlink()

    def remove(self) -> None:
        """Free the memory when the run is over. A folder on disk stays, with the last weights in it."""
        if self.folder.is_relative_to(SHARED_MEMORY):
            shutil.rmtree(self.folder, ignore_errors=True)


def board_folder(place: WeightPlace, *, run: Path, own: Path, nodes: int, weight_bytes: int) -> Path:
    """Where the weights of a run are published.

    Args:
        place: What the user asked for.
        run: The run directory; its shared memory has a name made from it, so that a later process finds and clears
            what a killed one left behind.
        own: The board's folder within the run directory.
        nodes: Of the cluster.
        weight_bytes: Size of one version.

    Raises:
        ConfigError: Shared memory was asked for and cannot be used.
    """
    if place == "run_dir":
        return own
    shared = SHARED_MEMORY / f"gen-searcher-{hashlib.sha256(str(run).encode()).hexdigest()[:16]}"
    hindrance = _hindrance(shared, nodes=nodes, weight_bytes=weight_bytes)
    if hindrance is None:
        return shared
    if place == "shared_memory":
        raise ConfigError(f"policy.weights.place=shared_memory: {hindrance}; set it to run_dir")
    log.info("new weights go through the run directory: %s", hindrance)
    return own


def _hindrance(shared: Path, *, nodes: int, weight_bytes: int) -> str | None:
    """Why weights cannot go through shared memory; None when they can."""
    if nodes > 1:
        return f"the cluster has {nodes} nodes, which share no memory"
    if not SHARED_MEMORY.is_dir():
        return f"there is no {SHARED_MEMORY}"
    left = sum(path.stat().st_size for path in shared.glob("*"))
    free = shutil.disk_usage(SHARED_MEMORY).free + left
    if free < VERSIONS_AT_ONCE * weight_bytes:
        return (
            f"{SHARED_MEMORY} has {free / 2**30:.1f} GiB free and two versions take "
            f"{VERSIONS_AT_ONCE * weight_bytes / 2**30:.1f} GiB"
        )
    return None
