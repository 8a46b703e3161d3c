"""Attempts and lost tries as bytes: the codec of the attempt log, squeezed. Reading gives the same value, bit for bit."""

from __future__ import annotations

import zlib

from pydantic import TypeAdapter, ValidationError

from gen_searcher.types import Attempt, Lost

_ATTEMPT = TypeAdapter(Attempt)
_LOST = TypeAdapter(Lost)
_LEVEL = 1
"""Of zlib: token ids and log-probabilities shrink by two thirds, and harder work gains a tenth."""
MAX_BYTES = 256 << 20
"""Of what is unpacked; an attempt with a hundred thousand tokens takes some megabytes."""


class Unreadable(Exception):
    """The bytes are not what was written; the attempt has to be made again."""


def pack_attempt(attempt: Attempt) -> bytes:
    """An attempt as bytes."""
    return zlib.compress(_ATTEMPT.dump_json(attempt), _LEVEL)


def unpack_attempt(body: bytes) -> Attempt:
    """The attempt. Raises Unreadable."""
    try:
        return _ATTEMPT.validate_json(_unpacked(body))
    except (zlib.error, ValidationError) as error:
        raise Unreadable(str(error)) from error


def pack_lost(lost: Lost) -> bytes:
    """A lost try as bytes."""
    return zlib.compress(_LOST.dump_json(lost), _LEVEL)


def unpack_lost(body: bytes) -> Lost:
    """The lost try. Raises Unreadable."""
    try:
        return _LOST.validate_json(_unpacked(body))
    except (zlib.error, ValidationError) as error:
        raise Unreadable(str(error)) from error


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(body, MAX_BYTES)
    if not unpacker.eof:
        raise Unreadable(f"cut, or more than {MAX_BYTES} bytes")
    return text


def cost_usd(attempt: Attempt) -> float:
    """What the attempt cost outside: its tools, its picture, its judges."""
    tools = sum(turn.result.cost_usd for turn in attempt.trajectory.turns if turn.result is not None)
    picture = attempt.drawing.cost_usd if attempt.drawing is not None else 0.0
    return tools + picture + sum(judgement.cost_usd for judgement in (*attempt.judgements, *attempt.shadow))
