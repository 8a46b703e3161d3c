"""One step once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gen_searcher.config.base import Config


def _listed(value: object) -> object:
    """`a,b`, as the flag writes it."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class ReplayConfig(Config):
    """What `gen-searcher replay` makes again. All other settings come from the run's own record."""

    step: int | None = Field(default=None, ge=1)
    """Which step; null takes the last one. Also `--step N`."""
    bundle: Path | None = None
    """Replay this file instead of a run directory. Also `--bundle FILE`."""
    pack: Path | None = None
    """Write the step, once everything of it agrees, into this file, which must not exist. Also `--pack FILE`."""
    judges: Literal["again", "taped"] | None = None
    """`again`: judges that ask nobody outside judge once more, the others' verdicts come from the cassette. `taped`: all
    verdicts come from the cassette. null: `again` in a run directory, `taped` in a bundle, whose reader may have another
    processor."""
    pictures: Literal["stored", "drawn"] = "stored"
    """`stored`: the pictures of the image store are held against their digests. `drawn`: they are drawn again as well,
    by an image model that asks nobody outside, or from the cassette."""
    trust: Annotated[tuple[str, ...] | None, BeforeValidator(_listed)] = None
    """Packages and classes beside those that ship, by their dotted names, that a record may name and a replay then builds:
    judges that are asked again, an image model that draws again. null: all of them in a run directory, which is taken for
    your own, none in a bundle. `[]`: none anywhere, for a run directory that somebody else made. Also `--trust NAMES`."""
    placed: Literal["here", "as_run"] = "here"
    """`here`: the learner steps on this machine's CPU. `as_run`: it asks for what the run's learner asked for, GPUs too."""
    tolerance: float = Field(default=1e-3, ge=0.0)
    """Most that loss and gradient norm may differ, relative to the larger one, or to 1 where both are smaller, when
    another processor or another release of PyTorch made them. Where these are the same, every bit counts."""

    @property
    def asks_judges(self) -> bool:
        """Whether judges that ask nobody outside judge once more."""
        return (self.judges or ("again" if self.bundle is None else "taped")) == "again"
