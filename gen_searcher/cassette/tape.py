"""What was asked -> what was answered: live, recorded or replayed.

    Question -> key -> store, or the provider -> answer

A key is the digest of canonical JSON of (kind, provider, its revision, request). Failures of the world are never
recorded: an outage is no answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from gen_searcher.cassette.store import CassetteStore, Damaged, Entry, StoreFull
from gen_searcher.config.cassette import CassetteConfig, Kind
from gen_searcher.config.plug import Plug
from gen_searcher.config.redaction import cleaned, hiding_secrets
from gen_searcher.errors import ReplayMiss, UserError
from gen_searcher.tools.meter import Meter, go_out, replay

log = logging.getLogger(__name__)

T = TypeVar("T")

STAGES: Mapping[Kind, str] = {"drawing": "generate", "judgement": "judge"}
"""What metrics call a kind; everything else is a tool's."""

_SECRET = ("env:", "file:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is asked."""

    provider: str
    revision: str
    """Changes when other answers are to be expected."""

    @classmethod
    def of(cls, plug: Plug) -> Identity:
        """A plug's class, and its settings without references to secrets: another key brings the same answers."""
        keywords = {
            name: value
            for name, value in plug.keywords.items()
            if not (isinstance(value, str) and value.startswith(_SECRET))
        }
        settings = canonical({"target": plug.target, "keywords": keywords})
        return cls(provider=provider_name(plug), revision=hashlib.sha256(settings.encode()).hexdigest()[:16])


def provider_name(plug: Plug) -> str:
    """What limits and metrics call a plug: its class in lower case."""
    return plug.target.rpartition(".")[2].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call to the outside."""

    kind: Kind
    who: Identity
    request: Mapping[str, JsonValue]

    @property
    def key(self) -> str:
        """Hex digest."""
        whole = [self.kind, self.who.provider, self.who.revision, dict(self.request)]
        return hashlib.sha256(canonical(whole).encode()).hexdigest()

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.kind} {self.who.provider} {canonical(dict(self.request))}"


class Codec(Protocol[T]):
    """An answer as bytes."""

    def encode(self, value: T) -> bytes:
        """To bytes."""
        ...

    def decode(self, body: bytes) -> T:
        """From bytes. Raises ValueError."""
        ...


class JsonCodec(Codec[T]):
    """Of values that pydantic reads back as they were."""

    def __init__(self, kind: type[T]) -> None:
        """`kind` of the values."""
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def encode(self, value: T) -> bytes:
        """As JSON."""
        return self._adapter.dump_json(value)

    def decode(self, body: bytes) -> T:
        """Validated. Raises ValueError."""
        return self._adapter.validate_json(body)


class Tape:
    """One worker's cassette."""

    def __init__(self, config: CassetteConfig, *, folder: Path, meter: Meter) -> None:
        """`folder` is used unless the settings name another one. Raises UserError when a replay has nothing to read."""
        self._mode = config.mode
        self._path = folder if config.path is None else config.path
        self._meter = meter
        self._kinds = config.kinds
        self._store = None if config.mode == "live" else self._opened(config)

    def keeps(self, kind: Kind) -> bool:
        """Whether such answers are recorded or replayed."""
        return self._mode != "live" and (self._kinds is None or kind in self._kinds)

    async def answer(self, question: Question, make: Callable[[], Awaitable[T]], codec: Codec[T]) -> T:
        """What the cassette holds, or what `make` brings.

        Raises:
            ReplayMiss: The mode is `replay` and there is no such answer; `make` was not called.
            UserError: The mode is `record` and nothing more can be written.
        """
        if self._store is None or not self.keeps(question.kind):
            return await self.outside(question.kind, make)
        if self._mode != "record":
            kept = await asyncio.to_thread(self._get, self._store, question, codec)
            if kept is not None:
                self._meter.add("cassette/replayed_calls")
                replay()
                return kept[0]
            if self._mode == "replay":
                raise ReplayMiss(
                    f"the cassette {self._path} holds no answer to: {question.label[:400]} (key {question.key[:12]}); "
                    "cassette.mode=auto would ask and record it"
                )
        value = await self.outside(question.kind, make)
        await asyncio.to_thread(self._put, self._store, question, codec.encode(value))
        return value

    async def outside(self, kind: Kind, make: Callable[[], Awaitable[T]]) -> T:
        """Ask, and count it; what a seam calls when `keeps` saves it from spelling out its question.

        Neither the answer nor an error tells a secret, whoever was asked and whatever it repeats.
        """
        stage = STAGES.get(kind, "tool")
        self._meter.add(f"{stage}/paid_calls")
        go_out()
        with hiding_secrets(stage):
            return cleaned(await make())

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def _opened(self, config: CassetteConfig) -> CassetteStore:
        is_replay = config.mode == "replay"
        if is_replay and not (self._path / "index.sqlite").is_file():
            raise ReplayMiss(f"cassette.mode=replay, but there is no cassette in {self._path}")
        try:
            return CassetteStore(self._path, max_bytes=int(config.max_mib * 2**20), read_only=is_replay)
        except (Damaged, OSError) as error:
            raise UserError(f"cassette.path: {error}", exit_code=3) from error

    def _get(self, store: CassetteStore, question: Question, codec: Codec[T]) -> tuple[T] | None:
        try:
            body = store.get(question.key)
            return None if body is None else (codec.decode(body),)
        except (Damaged, ValidationError, ValueError) as error:
            self._meter.add("cassette/damaged_count")
            if self._mode == "replay":
                raise ReplayMiss(f"the cassette's answer to {question.label[:400]} is damaged: {error}") from error
            log.warning("cassette: asked anew, because the entry is damaged: %s", error)
            return None

    def _put(self, store: CassetteStore, question: Question, body: bytes) -> None:
        entry = Entry(key=question.key, kind=question.kind, label=question.label, body=body)
        try:
            store.put(entry)
            self._meter.add("cassette/recorded_count")
        except (StoreFull, Damaged) as error:
            self._meter.add("cassette/unrecorded_count")
            if self._mode == "record":
                raise UserError(
                    f"cassette.mode=record, but an answer cannot be written: {error}", exit_code=3
                ) from error
            log.warning("cassette: not recorded: %s", error)


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
