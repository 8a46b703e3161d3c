"""What the tests of the images begin with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.clean_root import NoRoot, debian_with_python


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Gigabytes, which pytest would keep of its last three runs."""
    with tempfile.TemporaryDirectory(prefix="gs-image-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    """The image that both begin with."""
    root = folder / "base"
    try:
        debian_with_python("python:3.11-slim-bookworm", root)
    except NoRoot as why:
        pytest.skip(f"no clean root here: {why}")
    return root
