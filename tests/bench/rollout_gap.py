"""How far sampler and learner are apart on real multi-turn rollouts with pictures: vLLM -> samples -> learner."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gen_searcher.train.mismatch import Disagreement
from tests.engines.test_mismatch import Both, apart


def rollout_gap(folder: Path, *, rollouts: int) -> Disagreement:
    """The sampled token on which the two are furthest apart, of that many rollouts at the paper's sampling."""
    both = Both(folder)
    try:
        return apart(asyncio.run(both.group(range(1000, 1000 + 10 * rollouts, 10))), both.learner())
    finally:
        asyncio.run(both.engine.close())
