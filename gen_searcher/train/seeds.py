"""Seeds that depend on what is being sampled, never on when: a run can be replayed."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: object) -> int:
    """A 31-bit seed from the given parts, e.g. (run seed, "grpo", task id, visit, member).

    31 bits because every library that we hand it to (vLLM, torch, numpy) accepts that range.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF
