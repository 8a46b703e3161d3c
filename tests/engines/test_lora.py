from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gen_searcher.config.optim import LoraConfig
from gen_searcher.engines.lora import adapted_weights, add_adapters, merged
from gen_searcher.engines.qwen_forward import PackedPolicy, load_qwen
from gen_searcher.errors import UserError
from gen_searcher.grpo.tensors import RowTensors, image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from tests.engines.learner_setup import IMAGE_TOKEN, mixed_samples, save_tiny

LORA = LoraConfig(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def row(tmp_path: Path) -> RowTensors:
    store = ImageStore(tmp_path / "images")
    return row_tensors(
        tuple(mixed_samples(store)), image_token_id=IMAGE_TOKEN, pixels=lambda ref: image_patches(store.get(ref))
    )


def policy(folder: Path, lora: LoraConfig | None = None) -> PackedPolicy:
    model = load_qwen(folder, dtype=torch.float32)
    if lora is not None:
        add_adapters(model, lora)
    return PackedPolicy(model, banned_ids=(), chunk_tokens=64)


def test_by_hand_the_merged_weight_is_the_weight_plus_the_scaled_product():
    weights = {
        "a.weight": torch.tensor([[1.0, 2.0]]),
        "a.lora_down": torch.tensor([[3.0, 5.0], [1.0, 1.0]]),
        "a.lora_up": torch.tensor([[1.0, -2.0]]),
        "b.weight": torch.tensor([7.0]),
    }
    plain = merged(weights, LoraConfig(rank=2, alpha=4.0))  # scale 2
    assert plain.keys() == {"a.weight", "b.weight"}
    assert plain["a.weight"].tolist() == [[1.0 + 2.0 * (3 - 2), 2.0 + 2.0 * (5 - 2)]]
    assert plain["b.weight"].tolist() == [7.0]


def test_fresh_adapters_change_nothing_and_only_they_learn(folder: Path, row: RowTensors):
    plain, adapted = policy(folder), policy(folder, LORA)
    before, after = plain(row, 1.0)[0], adapted(row, 1.0)[0]
    assert torch.equal(before, after)
    after.sum().backward()
    learning = {name for name, p in adapted.named_parameters() if p.grad is not None}
    assert len(learning) == 3 * 7 * 2
    assert all(name.endswith(("lora_down", "lora_up")) for name in learning)


def test_merged_weights_compute_what_the_adapted_model_computes(folder: Path, row: RowTensors):
    adapted = policy(folder, LORA)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if name.endswith("lora_up"):
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(len(name)))
        expected = adapted(row, 1.0)[0]
        plain = policy(folder)
        before = plain(row, 1.0)[0]
        plain.load_state_dict(merged(adapted.state_dict(), LORA))
        found = plain(row, 1.0)[0]
    assert (expected - before).abs().max() > 0.05
    assert (found - expected).abs().max() < 1e-4


def test_adapters_stay_off_the_vision_tower(folder: Path):
    names = [name for name, _ in policy(folder, LoraConfig(targets=("qkv", "q_proj"))).named_parameters()]
    assert adapted_weights(names)
    assert not any("visual" in name for name in adapted_weights(names))


def test_a_target_that_no_layer_has_is_a_user_error():
    with pytest.raises(UserError, match="no linear layer named w_q"):
        add_adapters(nn.Sequential(nn.Linear(2, 2)), LoraConfig(targets=("w_q",)))
