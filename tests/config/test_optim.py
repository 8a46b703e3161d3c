from __future__ import annotations

import pytest

from gen_searcher.config.optim import LoraConfig, OptimConfig


def test_the_rate_rises_over_the_warm_up_and_stays():
    optim = OptimConfig(lr=1e-3, warmup_steps=4)
    assert [optim.lr_at(step) for step in (0, 1, 3, 4, 100)] == pytest.approx([2.5e-4, 5e-4, 1e-3, 1e-3, 1e-3])


def test_a_share_of_the_run_may_be_the_warm_up():
    optim = OptimConfig(lr=1.0, warmup_frac=0.02, total_steps=150)  # three steps
    assert [optim.lr_at(step) for step in (0, 1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])


def test_adapters_leave_the_vision_tower_frozen():
    assert not OptimConfig(freeze=()).has_frozen_tower
    assert not OptimConfig(freeze=("vision",)).has_frozen_tower
    assert OptimConfig(freeze=("vision", "projector")).has_frozen_tower
    assert OptimConfig(lora=LoraConfig()).has_frozen_tower


def test_a_cosine_falls_from_the_warm_up_to_its_floor():
    optim = OptimConfig(lr=1.0, schedule="cosine", warmup_steps=2, total_steps=12, min_lr_frac=0.1)
    assert [optim.lr_at(step) for step in (1, 2, 7, 12, 99)] == pytest.approx([1.0, 1.0, 0.55, 0.1, 0.1])
