"""A provider's JSON object -> hits: lenient with single results, strict with the answer as a whole.

A result without an address is left out. An answer whose results have all lost theirs is no empty answer but a form
that we do not know, and says so: an outage must not look like a web without pages.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from yarl import URL

from gen_searcher.errors import ProviderInvalid, ProviderRefused, Refusal
from gen_searcher.tools.api import Fields, failure, said_error
from gen_searcher.web import Hit, ImageHit

_EMPHASIS = re.compile(r"</?(?:b|em|i|mark|strong)\s*/?>", re.IGNORECASE)

H = TypeVar("H", Hit, ImageHit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who answered what, for errors."""

    provider: str
    stage: str


def rows(answer: Fields, name: str, *, of: Source, may_lack: bool = False) -> list[Fields]:
    """The results under `name`; null and an empty list mean that nothing was found.

    Args:
        answer: The JSON object.
        name: Of the list.
        of: Who answered.
        may_lack: The provider leaves the list out when nothing was found.

    Raises:
        ProviderRefused, ProviderInvalid: An error in disguise, or another form.
    """
    value = answer.get(name)
    if not value:
        words = next((text for key in ("error", "message", "detail") if (text := said_error(answer.get(key)))), "")
        if words:
            raise failure(words, status=200, provider=of.provider, stage=of.stage)
    if value is None:
        if name not in answer and not may_lack:
            raise ProviderInvalid(f"{of.provider}: the answer has no {name!r}", of.stage)
        return []
    if not isinstance(value, list):
        raise ProviderInvalid(f"{of.provider}: {name!r} is no list", of.stage)
    return [cast("Fields", row) if isinstance(row, dict) else {} for row in cast("list[object]", value)]


def hits(found: Sequence[Fields], read: Callable[[Fields], H], *, limit: int, of: Source) -> list[H]:
    """At most `limit` results that have an address, each address once, best first. Raises ProviderInvalid."""
    usable: dict[str, H] = {}
    for row in found:
        hit = read(row)
        url = hit.url if isinstance(hit, Hit) else hit.image_url
        if url:
            usable.setdefault(url, hit)
    if found and not usable:
        raise ProviderInvalid(f"{of.provider}: none of {len(found)} results has an address", of.stage)
    return list(usable.values())[:limit]


def text(row: Fields, *names: str) -> str:
    """The first text among `names`, without emphasis and entities; empty when there is none."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return html.unescape(_EMPHASIS.sub("", _writable(value))).strip()
    return ""


def address(row: Fields, *names: str) -> str:
    """The first http or https address among `names`; empty when there is none."""
    for name in names:
        value = row.get(name)
        if not isinstance(value, str):
            continue
        stripped = _writable(value).strip()
        candidate = f"https:{stripped}" if stripped.startswith("//") else stripped
        try:
            url = URL(candidate)
            is_address = url.scheme in ("http", "https") and bool(url.host)
        except (ValueError, IndexError):  # yarl trips over a lone bracket with an IndexError
            continue
        if is_address:
            return candidate
    return ""


def inner(row: Fields, name: str) -> Fields:
    """The object under `name`; empty when it is missing or something else."""
    value = row.get(name)
    return cast("Fields", value) if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """A number of an answer; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def left(value: object, what: str, *, of: Source) -> str:
    """In words, how much of `what` an account still has; it may not say.

    Raises:
        ProviderRefused: Nothing.
    """
    amount = number(value)
    if amount is None:
        return "accepted; it does not say what is left"
    if amount <= 0:
        raise ProviderRefused(f"{of.provider}: no {what} are left on the account", of.stage, Refusal.QUOTA)
    return f"accepted, {amount:,.0f} {what} left"


def _writable(value: str) -> str:
    """Escapes can spell lone surrogates, which no file takes."""
    return value.encode("utf-8", errors="replace").decode("utf-8")
