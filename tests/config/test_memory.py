"""Bytes of a policy against the sums by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gen_searcher.config import memory
from gen_searcher.config.optim import LoraConfig, OptimConfig
from gen_searcher.config.policy import PolicyConfig
from gen_searcher.errors import DataError

BILLION = 1_000_000_000


def test_weights_are_counted_over_all_files_of_a_folder(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(7)}, tmp_path / "one.safetensors")
    save_file({"c": torch.zeros(2, 2, 2)}, tmp_path / "two.safetensors", metadata={"format": "pt"})
    assert memory.count_weights(tmp_path) == 15 + 7 + 8


def test_a_pipeline_is_the_sum_of_the_parts_that_it_names_each_in_one_precision(tmp_path: Path) -> None:
    sizes = {
        "transformer/model-00001-of-00002": 3,
        "transformer/model-00002-of-00002": 4,
        "transformer/model.fp16-00001-of-00001": 100,  # the same once more
        "vae/model.bf16": 5,  # there in one precision alone
        "unnamed/model": 1000,
        "whole": 10_000,  # the same weights in a single file, for other programs
    }
    for name, size in sizes.items():
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file({"w": torch.zeros(size)}, path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "X", "transformer": [], "vae": [], "scheduler": []}')
    assert memory.count_pipeline_weights(tmp_path) == 3 + 4 + 5


def test_a_folder_that_is_no_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no folder of a diffusers pipeline: model_index\.json"):
        memory.count_pipeline_weights(tmp_path)
    (tmp_path / "model_index.json").write_text('{"vae": []}')
    with pytest.raises(DataError, match=r"holds no \.safetensors file of a part"):
        memory.count_pipeline_weights(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"\xff" * 8, "its header would take"), (b"\x02" + b"\0" * 7 + b"[]", "is no safetensors file")],
)
def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        memory.count_weights(tmp_path)


@pytest.mark.parametrize(
    ("changes", "ranks", "device", "host"),
    [
        ({"zero_stage": 1}, 4, 2 + 4 + 3, 0),
        ({"zero_stage": 2}, 4, 2 + 1 + 3, 0),
        ({"zero_stage": 3}, 4, 0.5 + 1 + 3, 0),
        ({"backend": "fsdp2"}, 4, 4, 0),
        ({"backend": "fsdp2", "dtype": "float32"}, 2, 8, 0),
        ({"backend": "fsdp2", "offload_optimizer": True}, 4, 0, 4),
        ({"zero_stage": 3, "offload_optimizer": True}, 4, 1.5, 3),
        ({"dtype": "float32"}, 1, 4 + 4 + 8, 0),
        ({"lora": LoraConfig()}, 2, 2, 0),
        ({"lora": LoraConfig(), "backend": "fsdp2"}, 2, 2, 0),
    ],
)
def test_a_learner_rank_takes_what_the_zero_paper_says_and_its_gradients_in_float32(
    changes: dict[str, object], ranks: int, device: float, host: float
) -> None:
    found = memory.learner_rank(BILLION, OptimConfig.model_validate(changes), ranks=ranks)
    assert (found.device, found.host) == (device * BILLION, host * BILLION)


def test_a_kl_term_keeps_the_whole_starting_policy_on_every_rank() -> None:
    alone, beside = (
        memory.learner_rank(BILLION, OptimConfig(zero_stage=3), ranks=4, has_reference=has) for has in (False, True)
    )
    assert beside.device - alone.device == 2 * BILLION


def test_an_engine_shares_its_weights_and_keeps_its_cache() -> None:
    policy = PolicyConfig(dtype="bfloat16", engine="async", tensor_parallel=2, kv_cache_mib=1024)
    assert memory.engine(BILLION, policy).device == BILLION + 2**30
