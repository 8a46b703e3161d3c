"""Weights and optimizer state as safetensors: engine -> Hugging Face folder -> engine.

A folder holds what Hugging Face reads (weights, config, tokenizer) and, beside it, one `optimizer-R-of-W.safetensors`
for each rank and `trainer.json`. Nothing is pickled: loading a checkpoint runs no code of its author.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false
# (deepspeed is not typed)

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.deepspeed_setup import Engine, Place
from gen_searcher.engines.weight_files import write_weights
from gen_searcher.errors import UserError

WEIGHTS = "model.safetensors"
TRAINER = "trainer.json"
COPIED = ("*.json", "*.jinja", "*.txt")
"""Config, tokenizer, image processor and chat template of a Hugging Face folder."""
NOT_COPIED = {TRAINER, "model.safetensors.index.json"}
PREFIX = "model."
"""Of the names in `PackedPolicy`, before those of Hugging Face."""
MOMENTS = ("exp_avg", "exp_avg_sq")


def export_weights(engine: Engine, path: Path, *, rank: int) -> None:
    """Write all weights as one file; every rank must call."""
    with _whole(engine):
        if rank == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_weights(_named_weights(engine), path)
    dist.barrier()


def save(engine: Engine, folder: Path, *, place: Place, optim: OptimConfig, base: Path, steps_done: int) -> None:
    """Write the folder; every rank must call. `trainer.json` comes last: without it a checkpoint is not complete."""
    if place.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TRAINER).unlink(missing_ok=True)
        _copy_description(base, folder, dtype=optim.dtype)
    export_weights(engine, folder / WEIGHTS, rank=place.rank)
    _save_whole(_optimizer_tensors(engine), _optimizer_file(folder, place.rank, place.world))
    dist.barrier()
    if place.rank == 0:
        trainer = {
            "steps_done": steps_done,
            "world": place.world,
            "zero_stage": optim.zero_stage,
            "lr_next": optim.lr_at(steps_done),
            "optim": optim.model_dump(mode="json"),
            "rng": "none: the learner draws nothing at random",
        }
        (folder / TRAINER).write_text(json.dumps(trainer, indent=2) + "\n")
    dist.barrier()


def load(engine: Engine, folder: Path, *, place: Place, optim: OptimConfig) -> int:
    """Read the folder into the engine; every rank must call. Returns the number of finished steps.

    The number of ranks may differ from the one that saved, but for ZeRO 3; the ZeRO stage may not.
    """
    if not (folder / TRAINER).is_file():
        raise UserError(f"{folder}: no {TRAINER}; this checkpoint was not written to the end")
    trainer = cast("dict[str, object]", json.loads((folder / TRAINER).read_text()))
    saved_stage, saved_world = int(str(trainer["zero_stage"])), int(str(trainer["world"]))
    if saved_stage != optim.zero_stage:
        raise UserError(
            f"{folder}: saved with zero_stage {saved_stage}, not {optim.zero_stage}; set it to {saved_stage}"
        )
    if saved_world != place.world and saved_stage == 3:
        raise UserError(f"{folder}: saved by {saved_world} ranks under ZeRO 3; resume with as many, not {place.world}")
    weights = load_file(folder / WEIGHTS)
    with _whole(engine, writing=True), torch.no_grad():
        for name, parameter in _named_parameters(engine):
            parameter.copy_(weights[name])
    _restore_optimizer(engine, folder, place=place, saved_world=saved_world)
    dist.barrier()
    return int(str(trainer["steps_done"]))


def _named_parameters(engine: Engine) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Parameters under their Hugging Face names; one that is tied to another comes once."""
    for name, parameter in engine.module.named_parameters():
        yield name.removeprefix(PREFIX), parameter


def _named_weights(engine: Engine) -> dict[str, Tensor]:
    return {name: parameter.detach().cpu().contiguous() for name, parameter in _named_parameters(engine)}


@contextmanager
def _whole(engine: Engine, *, writing: bool = False) -> Generator[None]:
    """Under ZeRO 3 a rank holds its shard only; inside this block it sees whole weights."""
    if engine.zero_optimization_stage() < 3:
        yield
        return
    import deepspeed

    parameters = list(engine.module.parameters())
    with deepspeed.zero.GatheredParameters(parameters, modifier_rank=0 if writing else None):
        yield


def _save_whole(tensors: dict[str, Tensor], path: Path) -> None:
    partial = path.with_name(path.name + ".part")
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(path)


def _copy_description(base: Path, folder: Path, *, dtype: str) -> None:
    for pattern in COPIED:
        for file in base.glob(pattern):
            if file.name not in NOT_COPIED and file.resolve() != (folder / file.name).resolve():
                shutil.copyfile(file, folder / file.name)
    config = cast("dict[str, object]", json.loads((folder / "config.json").read_text()))
    config["dtype"] = dtype
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _optimizer_file(folder: Path, rank: int, world: int) -> Path:
    return folder / f"optimizer-{rank}-of-{world}.safetensors"


def _base_optimizer(engine: Engine) -> torch.optim.Optimizer:
    """PyTorch's AdamW, inside ZeRO's."""
    return engine.optimizer.optimizer


def _shards(engine: Engine) -> list[Tensor]:
    """The flat float32 tensors that AdamW steps on: this rank's share of all weights."""
    if engine.zero_optimization_stage() == 3:
        return list(engine.optimizer.fp32_partitioned_groups_flat)  # ZeRO 3 shows them to AdamW one at a time
    return [shard for group in _base_optimizer(engine).param_groups for shard in group["params"]]


def _optimizer_tensors(engine: Engine) -> dict[str, Tensor]:
    state = _base_optimizer(engine).state
    tensors: dict[str, Tensor] = {}
    for number, shard in enumerate(_shards(engine)):
        tensors[f"{number}.master"] = shard.detach().cpu().contiguous()
        if shard in state:
            tensors[f"{number}.step"] = state[shard]["step"].detach().cpu().reshape(1)
            for moment in MOMENTS:
                tensors[f"{number}.{moment}"] = state[shard][moment].detach().cpu().contiguous()
    return tensors


def _restore_optimizer(engine: Engine, folder: Path, *, place: Place, saved_world: int) -> None:
    if saved_world == place.world:
        tensors = load_file(_optimizer_file(folder, place.rank, saved_world))
    else:
        parts = [load_file(_optimizer_file(folder, rank, saved_world)) for rank in range(saved_world)]
        tensors = _reshard(parts, [shard.numel() for shard in _shards(engine)], rank=place.rank)
    state = _base_optimizer(engine).state
    for number, shard in enumerate(_shards(engine)):
        with torch.no_grad():
            shard.copy_(tensors[f"{number}.master"])
        if f"{number}.step" not in tensors:
            state.pop(shard, None)
            continue
        state[shard] = {"step": tensors[f"{number}.step"].reshape(()).to(shard.device)} | {
            moment: tensors[f"{number}.{moment}"].to(shard.device) for moment in MOMENTS
        }


def _reshard(parts: list[dict[str, Tensor]], sizes: list[int], *, rank: int) -> dict[str, Tensor]:
    """Cut the ranks' shards anew. Shards lie end to end; what is added or lost at the end is padding."""
    tensors: dict[str, Tensor] = {}
    for name, first in parts[0].items():
        number, _, kind = name.partition(".")
        if kind == "step":
            tensors[name] = first
            continue
        size = sizes[int(number)]
        own = torch.cat([part[name] for part in parts])[rank * size : (rank + 1) * size]
        tensors[name] = torch.nn.functional.pad(own, (0, size - own.numel()))
    return tensors
