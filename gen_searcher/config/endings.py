"""Hosted models and services that end: a run should not start on what is about to go.

Dates change. What is here is advice by `gen-searcher doctor`, never a refusal, and says who says so. `doctor --online` asks
OpenAI itself, whose list of models names the day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

from gen_searcher.config.plug import Plug

SOON = timedelta(days=60)
"""A run of the paper's length takes days; a benchmark that must be repeatable for a paper takes months."""
OPENAI = "OpenAI's list of deprecations (developers.openai.com/api/docs/deprecations) says"
REPORTED_OPENAI = "reports that quote OpenAI's list of deprecations say"
GOOGLE = "Google's list of deprecations (ai.google.dev/gemini-api/docs/deprecations) says"
ONE_REPORT = "a single report says; Google's own list named no date when it was read"
SERVICES = "its maker has announced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Of one model or service."""

    on: date
    instead: str
    """The model's successor; for a service the settings to choose another one."""
    source: str
    """Who says so, as the end of a sentence."""


ENDINGS: Mapping[str, Ending] = MappingProxyType(
    {
        "gpt-image-1.5": Ending(on=date(2026, 12, 1), instead="gpt-image-2.5-sunburst", source=OPENAI),
        "gpt-image-1.5-2025-12-16": Ending(on=date(2026, 12, 1), instead="gpt-image-2.5-sunburst", source=OPENAI),
        "gpt-image-1-mini": Ending(on=date(2026, 12, 1), instead="gpt-image-2.5-flare", source=OPENAI),
        "chatgpt-image-latest": Ending(on=date(2026, 12, 1), instead="gpt-image-2.5-sunburst", source=OPENAI),
        "gpt-5": Ending(on=date(2026, 12, 11), instead="gpt-6.1-sol", source=OPENAI),
        "gpt-5-mini": Ending(on=date(2026, 12, 11), instead="gpt-6.1-terra", source=OPENAI),
        "gpt-4.1": Ending(on=date(2027, 1, 14), instead="gpt-6-luna", source=REPORTED_OPENAI),
        "gpt-4.1-2025-04-14": Ending(on=date(2027, 1, 14), instead="gpt-6-luna", source=REPORTED_OPENAI),
        "gpt-4.1-mini": Ending(on=date(2027, 1, 14), instead="gpt-6-luna", source=REPORTED_OPENAI),
        "gemini-3.1-flash-image": Ending(on=date(2026, 10, 29), instead="gemini-3-pro-image", source=ONE_REPORT),
        "gemini-3-pro-image-preview": Ending(on=date(2026, 6, 25), instead="gemini-3-pro-image", source=GOOGLE),
    }
)
"""By the model's name in a plug's keywords. Read in November 2026."""

ADDRESSES: Mapping[str, Ending] = MappingProxyType(
    {
        "api.bing.microsoft.com": Ending(on=date(2025, 8, 11), instead="search=serper", source=SERVICES),
        "googleapis.com/customsearch": Ending(on=date(2027, 1, 1), instead="search=serper", source=SERVICES),
    }
)
"""By a part of the service's address in a plug's keywords."""


def endings(plugs: Mapping[str, Plug], *, today: date) -> Iterator[str]:
    """A line for each model and service of the plugs that has ended or soon will; `plugs` are by their place."""
    for at, plug in plugs.items():
        for key, value in _texts(at, dict(plug.keywords)):
            named = ENDINGS.get(value)
            if named is not None and named.on - today <= SOON:
                yield f"{key}: {value} {_when(named, today)}; set {key}={named.instead}"
            for address, ending in ADDRESSES.items():
                if address in value and ending.on - today <= SOON:
                    yield f"{key}: {address} {_when(ending, today)}; choose another service, e.g. {ending.instead}"


def _when(ending: Ending, today: date) -> str:
    days = (ending.on - today).days
    when = f"ends on {ending.on}, in {days} days" if days > 0 else f"has ended on {ending.on}"
    return f"{when}, as {ending.source}"


def _texts(at: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for name, below in value.items():  # pyright: ignore[reportUnknownVariableType] - JSON values
            yield from _texts(f"{at}.{name}", below)  # pyright: ignore[reportUnknownArgumentType]
