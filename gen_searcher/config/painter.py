"""Training of the embedded generator (`gen-searcher world train-painter`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from gen_searcher.config.base import Config


class PainterConfig(Config):
    """How long to train which part."""

    vae_minutes: float = Field(default=8.0, ge=0.0)
    """Minutes for the autoencoder, which limits how sharp a picture can be."""
    dit_minutes: float = Field(default=18.0, ge=0.0)
    """Minutes for the denoiser, which learns to obey references and words."""
    polish_minutes: float = Field(default=0.0, ge=0.0)
    """Minutes at the end for the autoencoder's decoder alone."""
    table_pictures: int = Field(default=8, ge=1)
    """Held-out pictures per layout, look and family that the final table is measured on."""
    threads: int = Field(default=2, ge=1)
    """Compute threads."""
    start_from: Path | None = None
    """Folder of an earlier training to go on from; None starts afresh."""
