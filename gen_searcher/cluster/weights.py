"""Current weights as a fact on disk: learner -> v<N>.safetensors + current.json -> engines, restarted ones too."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from gen_searcher.protocols import PolicyEngine
from gen_searcher.types import WeightSource

NEVER_LOADED = -1
"""No version has this number."""


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

    async def catch_up(self, engine: PolicyEngine) -> None:
        """Return once the engine samples from what is published; at once when it does already."""
        async with self._loading:
            current = None if self._board is None else self._board.current()
            if current is not None and current.version != self._version:
                await engine.load_weights(current.version, current.source)
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
        """The published weights, or None before the first publish of this run."""
        path = self.folder / "current.json"
        if not path.exists():
            return None
        row = json.loads(path.read_text(encoding="utf-8"))
        return PublishedWeights(version=int(row["version"]), source=WeightSource(path=str(row["path"])))

    def clear(self) -> None:
        """Forget weights of an earlier process of this run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in [*self.folder.glob("*.safetensors"), *self.folder.glob("current.json*")]:
            path.unlink()

    def drop_older(self, version: int) -> None:
        """Delete weights before `version`; no engine can need them once `version` is published everywhere."""
        for path in self.folder.glob("v*.safetensors"):
            if path != self.path(version):
                path.unlink()
