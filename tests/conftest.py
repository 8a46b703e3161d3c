"""What all tests share: property tests have no deadline, because a busy machine says nothing about the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

LONGEST_FIRST = ("e2e", "engines", "commands", "faults")
"""Folders whose files take longest: started last, one of them would keep a single core busy at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, else as found."""
    folders = {name: place for place, name in enumerate(LONGEST_FIRST)}
    tests = Path(__file__).parent
    items.sort(key=lambda item: folders.get(item.path.relative_to(tests).parts[0], len(folders)))
