"""A pytest plugin: keeps the tests of some fault cases, and writes into their reports what their checks have looked at.

It is loaded by name (`-p`), so that the processes of pytest-xdist have it too.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest

from tests.faults.invariants import CHECKED, Checked

CASES = "fault cases"
INSTANCES = "instances"
LOST = "lost"
"""Names of properties of reports: the cases from the start on, the two counts at the end of a test."""

_BEFORE = pytest.StashKey[Checked]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which cases."""
    parser.addoption("--fault-cases", default="", help="numbers with commas between them; their tests alone are kept")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the tests of no wanted case."""
    wanted = {int(case) for case in str(config.getoption("--fault-cases")).split(",") if case}
    dropped = [item for item in items if wanted.isdisjoint(cases_of(item))]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Say the cases, and remember what was counted before."""
    item.stash[_BEFORE] = replace(CHECKED)
    item.user_properties.append((CASES, cases_of(item)))
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Say what was counted, fixtures included."""
    yield
    before = item.stash[_BEFORE]
    item.user_properties.append((INSTANCES, CHECKED.instances - before.instances))
    item.user_properties.append((LOST, CHECKED.lost - before.lost))


def cases_of(item: pytest.Item) -> list[int]:
    """The cases that a test shows."""
    return sorted({int(case) for mark in item.iter_markers("fault") for case in mark.args})
