"""The planted circuit: a fresh policy continues what it has seen once before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gen_searcher.config.policy import SmallPolicyConfig
from gen_searcher.engines.qwen_forward import load_qwen
from gen_searcher.engines.small_policy import build_small_policy

pytestmark = pytest.mark.filterwarnings("default")


def words() -> Iterator[str]:
    for number in range(2000):
        yield f"the {number} words of a small language, {number * 7919 % 100003} of them"


def share_copied(folder: Path) -> float:
    """Share of tokens that a greedy policy gets right in the second half of a random sequence said twice."""
    model = load_qwen(folder, dtype=torch.float32)
    model.set_attn_implementation("eager")
    model.eval()
    once = torch.randint(0, 250, (1, 150), generator=torch.Generator().manual_seed(0))
    twice = torch.cat([once, once], dim=1)
    with torch.no_grad():
        logits = model(input_ids=twice, use_cache=False).logits[0, 151:-1]
    return float((logits.argmax(-1) == twice[0, 152:]).double().mean())


def test_a_fresh_policy_copies_random_tokens_it_has_seen_once(tmp_path: Path) -> None:
    build_small_policy(tmp_path, config=SmallPolicyConfig(vocab=600), corpus=words())
    assert share_copied(tmp_path) > 0.9


def test_without_the_circuit_it_does_not(tmp_path: Path) -> None:
    build_small_policy(tmp_path, config=SmallPolicyConfig(vocab=600, can_copy=False), corpus=words())
    assert share_copied(tmp_path) < 0.1


def test_a_model_without_room_for_the_circuit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tied embeddings"):
        build_small_policy(tmp_path, config=SmallPolicyConfig(vocab=600, tied_embeddings=False), corpus=words())
