"""Settings of `gen-searcher ladder`."""

from __future__ import annotations

from pathlib import Path

from gen_searcher.config.base import Config


class LadderConfig(Config):
    """Which runs are compared."""

    folder: Path = Path("runs/paper_mini")
    """Holds `seed<N>/<variant>`, each a run directory that was benched; the variants are `full`, `no_text`, `no_image` and
    `alpha_<share>`."""
    other_generator: str = "compositor"
    """`bench.name` of the benches with a generator that nothing was trained on."""
