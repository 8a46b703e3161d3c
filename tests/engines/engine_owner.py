"""A process that owns an engine of vLLM's own processes, until somebody kills it.

python engine_owner.py FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Prompt, Sampling

CONFIG = PolicyConfig(
    small=SmallPolicyConfig(
        hidden=64, layers=3, heads=2, vocab=512, initializer_range=0.2, tied_embeddings=False, can_copy=False
    ),
    engine="async",
    max_context_tokens=512,
    kv_cache_mib=32,
)


async def own(folder: Path) -> None:
    build_small_policy(folder / "policy", config=CONFIG.small, corpus=["a flag of Poland"])
    policy = await VllmPolicy.start(folder / "policy", config=CONFIG, store=ImageStore(folder / "images"))
    said = await policy.complete(Prompt(token_ids=(65, 66), images=()), Sampling(max_tokens=4, seed=3))
    print("sampled", len(said.token_ids), flush=True)  # noqa: T201 - for the test that waits for it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(own(Path(sys.argv[1])))
