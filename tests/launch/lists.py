"""The lists of exact packages in launch/."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "launch"


def plain(name: str) -> str:
    """As package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(extra: str = "") -> dict[str, str]:
    """Name -> version, of constraints.txt or of constraints-EXTRA.txt."""
    file = FOLDER / (f"constraints-{extra}.txt" if extra else "constraints.txt")
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return {plain(name): version for name, _, version in (re.split("(={2,3})", line) for line in lines)}
