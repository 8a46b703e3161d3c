"""Hosted models and services that end, as their vendors have announced it: a run should not start on what is about to go.

Dates change. What is here is advice by `gen-searcher doctor`, never a refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

from gen_searcher.config.plug import Plug

SOON = timedelta(days=60)
"""A run of the paper's length takes days; a benchmark that must be repeatable for a paper takes months."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Of one model."""

    on: date
    instead: str


ENDINGS: Mapping[str, Ending] = MappingProxyType(
    {
        "gpt-image-1.5": Ending(on=date(2026, 12, 1), instead="gpt-image-2.5-sunburst"),
        "gemini-3.1-flash-image": Ending(on=date(2026, 10, 29), instead="gemini-3-pro-image"),
        "gemini-3-pro-image-preview": Ending(on=date(2026, 5, 29), instead="gemini-3-pro-image"),
    }
)
"""By the model's name in a plug's keywords."""


def endings(plugs: Mapping[str, Plug], *, today: date) -> Iterator[str]:
    """A line for each model of the plugs that has ended or soon will; `plugs` are by their place in the configuration."""
    for at, plug in plugs.items():
        for key, value in _texts(at, dict(plug.keywords)):
            ending = ENDINGS.get(value)
            if ending is None or ending.on - today > SOON:
                continue
            days = (ending.on - today).days
            when = f"ends on {ending.on}, in {days} days" if days > 0 else f"has ended on {ending.on}"
            yield f"{key}: {value} {when}, as its vendor announced; set {key}={ending.instead}"


def _texts(at: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for name, below in value.items():  # pyright: ignore[reportUnknownVariableType] - JSON values
            yield from _texts(f"{at}.{name}", below)  # pyright: ignore[reportUnknownArgumentType]
