"""How much memory a policy takes where it learns and where it searches, before anything is loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gen_searcher.config.optim import OptimConfig
from gen_searcher.config.policy import PolicyConfig
from gen_searcher.errors import DataError

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
PIPELINE_INDEX = "model_index.json"
"""Marks the folder of a diffusers pipeline and names its parts, each in a folder of its own."""
MAX_HEADER_BYTES = 100 << 20
"""What the format itself allows; more is no safetensors file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Of one process [bytes]; activations, the engine's own buffers and the CUDA context come on top."""

    device: float
    host: float = 0.0


def count_weights(folder: Path) -> int:
    """Weights in the safetensors files of a model folder; reads their headers only.

    Raises:
        DataError: There is none, or one is broken.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise DataError(f"{folder} holds no .safetensors file")
    return sum(math.prod(shape) for file in files for shape in _shapes(file))


def count_pipeline_weights(folder: Path) -> int:
    """Weights of all parts of a diffusers pipeline; reads headers only.

    Of a part that lies there in several precisions (`model.fp16.safetensors` beside `model.safetensors`) one is counted.

    Raises:
        DataError: It is no such folder, or a file in it is broken.
    """
    try:
        parts = cast("dict[str, object]", json.loads((folder / PIPELINE_INDEX).read_bytes()))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is no folder of a diffusers pipeline: {PIPELINE_INDEX}: {error}") from error
    files = [file for part in parts for file in _one_precision(sorted((folder / part).glob("*.safetensors")))]
    if not files:
        raise DataError(f"{folder} holds no .safetensors file of a part that {PIPELINE_INDEX} names")
    return sum(math.prod(shape) for file in files for shape in _shapes(file))


def _one_precision(files: list[Path]) -> list[Path]:
    variants = sorted({_variant(file) for file in files})  # the plain one, which has no name, comes first
    return [file for file in files if _variant(file) == variants[0]]


def _variant(file: Path) -> str:
    return file.name.partition(".")[2].removesuffix("safetensors").partition("-")[0]


def drawer(weights: int, dtype: str) -> Footprint:
    """Weights of an image model that is loaded whole."""
    return Footprint(device=weights * BYTES[dtype])


def learner_rank(weights: int, optim: OptimConfig, *, ranks: int, has_reference: bool = False) -> Footprint:
    """Weights, gradients and AdamW's states of one rank.

    Rajbhandari et al. 2020, *ZeRO*, section 3.1: 2 + 2 + 12 bytes a weight in mixed precision (the 12 are a float32 copy and
    two averages; in float32 4 + 4 + 8), of which stage 1 shards the states, 2 the gradients too, 3 the weights too. DeepSpeed
    adds our gradients up in float32: 4 bytes each. FSDP2 shards weights, gradients and averages, all in float32: 4 + 4 + 8
    bytes, all of them in host memory when it offloads. Adapters (`lora`) leave only the frozen weights. `has_reference`: a KL
    term keeps the starting policy whole on every rank.
    """
    each = BYTES[optim.dtype]
    reference = weights * each if has_reference else 0.0
    if optim.backend == "fsdp2":
        sharded = weights * (4 if optim.lora is not None else 16) / ranks
        is_away = optim.offload_optimizer
        return Footprint(device=reference + (0.0 if is_away else sharded), host=sharded if is_away else 0.0)
    held = weights * each / (ranks if optim.zero_stage >= 3 else 1) + reference
    if optim.lora is not None:
        return Footprint(device=held)
    gradients = weights * 4 / (ranks if optim.zero_stage >= 2 else 1)
    states = weights * (12 if each == 2 else 8) / ranks
    if optim.offload_optimizer:
        return Footprint(device=held + gradients, host=states)
    return Footprint(device=held + gradients + states)


def engine(weights: int, policy: PolicyConfig) -> Footprint:
    """Weights and, where its size is set, the key-value cache of one device of a rollout worker."""
    cache = (policy.kv_cache_mib or 0) * 2**20
    return Footprint(device=weights * BYTES[policy.dtype] / policy.tensor_parallel + cache)


def _shapes(file: Path) -> list[list[int]]:
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > min(MAX_HEADER_BYTES, file.stat().st_size):
                raise DataError(f"{file} is no safetensors file: its header would take {length} bytes")
            header = cast("dict[str, dict[str, list[int]]]", json.loads(opened.read(length)))
        return [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is no safetensors file: {error!r}") from error
