"""Weights on their way out, under the names that Hugging Face and vLLM read.

ranks -> one safetensors file;  a checkpoint and the policy it started from -> a Hugging Face folder
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch.distributed and safetensors are only partly typed)

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from safetensors import safe_open
from torch import Tensor

from gen_searcher.config.optim import LoraConfig, OptimConfig
from gen_searcher.engines.learner_checkpoint import SavedTensors, read_trainer
from gen_searcher.engines.lora import DOWN, UP, merged
from gen_searcher.engines.policy_files import checkpoint_names, description_files
from gen_searcher.engines.weight_files import save_tensors, write_weights
from gen_searcher.errors import UserError

PART_BYTES = 4 << 30
"""A weight file is closed once it is this large."""
INDEX = "model.safetensors.index.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def save_weights(named: Iterable[tuple[str, Tensor]], path: Path, *, rank: int, lora: LoraConfig | None = None) -> None:
    """Write all weights as one file; every rank must call, rank 0 writes.

    Args:
        named: Every whole weight; iterating may be a collective.
        path: The file.
        rank: This rank.
        lora: Settings of the adapters among the weights, which are merged.
    """
    weights: dict[str, Tensor] = {}
    for name, weight in named:
        if rank == 0:
            weights[name] = weight.cpu().contiguous()
    if rank == 0:
        if lora is not None:
            weights = merged(weights, lora)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_weights(weights, path)
    dist.barrier()


def save_file_whole(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file that appears under its name only when it is whole."""
    partial = path.with_name(path.name + ".part")
    save_tensors(tensors, partial)
    partial.replace(path)


def export_checkpoint(
    checkpoint: Path, target: Path, *, base: Path | None = None, part_bytes: int = PART_BYTES
) -> None:
    """Write a folder that transformers and vLLM load: trained weights, adapters merged, the rest from the base policy.

    Args:
        checkpoint: Folder of a complete checkpoint.
        target: The new folder; it appears under its name only when it is whole.
        base: The policy that the learner started from; None for the one that the checkpoint names.
        part_bytes: Size at which a weight file is closed.

    Raises:
        UserError: The target exists, or the base policy is not where it was.
    """
    if target.exists():
        raise UserError(f"{target} exists; name another folder with export.folder, or delete it")
    trainer = read_trainer(checkpoint)
    base = base or Path(str(trainer["base"]))
    if not (base / "config.json").is_file():
        raise UserError(
            f"{base}: no policy there, and {checkpoint} was trained from it; say where it is now with export.base"
        )
    optim = OptimConfig.model_validate(trainer["optim"])
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with ExitStack() as files:
        weights = _final_weights(SavedTensors.open(checkpoint, files), base, files, optim)
        _write_parts(weights, partial, part_bytes=part_bytes)
    _copy_description(base, partial, dtype=optim.dtype)
    partial.rename(target)


def _final_weights(
    saved: SavedTensors, base: Path, files: ExitStack, optim: OptimConfig
) -> Iterator[tuple[str, Tensor]]:
    """Name and value of every weight of a plain model, one at a time."""
    trained = {name.removeprefix("master/") for name in saved.names if name.startswith("master/")}
    dtype = DTYPES[optim.dtype]
    names = checkpoint_names(base)  # without a copy of the input embedding, which would be of before the training
    for path in sorted(base.glob("*.safetensors")):
        file = files.enter_context(safe_open(path, framework="pt"))
        for name in filter(names.__contains__, cast("list[str]", file.keys())):
            layer = name.removesuffix("weight")
            if name in trained:
                trained.discard(name)
                yield name, saved.tensor(f"master/{name}").to(dtype)
            elif optim.lora is not None and layer + DOWN in trained:
                around = {name: cast("Tensor", file.get_tensor(name)).to(dtype)}
                for adapter in (layer + DOWN, layer + UP):
                    trained.discard(adapter)
                    around[adapter] = saved.tensor(f"master/{adapter}").to(dtype)
                yield from merged(around, optim.lora).items()
            else:
                yield name, cast("Tensor", file.get_tensor(name)).to(dtype)
    if trained:
        raise UserError(f"{base}: not the policy that was trained, it has no {min(trained)}; set export.base")


def _write_parts(weights: Iterator[tuple[str, Tensor]], folder: Path, *, part_bytes: int) -> None:
    """One file, or numbered files and their index."""
    parts: list[list[str]] = []
    part: dict[str, Tensor] = {}
    total = size = 0
    for name, weight in weights:
        part[name] = weight.contiguous()
        size += weight.nbytes
        total += weight.nbytes
        if size >= part_bytes:
            save_tensors(part, folder / f"part-{len(parts)}")
            parts.append(list(part))
            part, size = {}, 0
    if part:
        save_tensors(part, folder / f"part-{len(parts)}")
        parts.append(list(part))
    if len(parts) == 1:
        (folder / "part-0").rename(folder / "model.safetensors")
        return
    weight_map: dict[str, str] = {}
    for number, names in enumerate(parts):
        file = f"model-{number + 1:05}-of-{len(parts):05}.safetensors"
        (folder / f"part-{number}").rename(folder / file)
        weight_map.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _copy_description(base: Path, folder: Path, *, dtype: str) -> None:
    for file in description_files(base):
        shutil.copyfile(file, folder / file.name)
    config = cast("dict[str, object]", json.loads((folder / "config.json").read_text()))
    config["dtype"] = dtype
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
