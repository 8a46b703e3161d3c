"""Checkpoints of a learner: sharded, whole or absent, and free of the number of ranks, the ZeRO stage and the backend.

A folder holds one `state-R-of-W.safetensors` for each rank that saved, with whole float32 tensors of the parameters
that fell to it (`master/NAME`, `exp_avg/NAME`, `exp_avg_sq/NAME`), and `trainer.json`. What is not trained is not
written: it lies in the policy that the learner started from, which `trainer.json` names. Nothing is pickled: loading
a checkpoint runs no code of its author.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch.distributed and safetensors are only partly typed)

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch.distributed as dist
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.learner_backend import KINDS, Kind, ShardedState, whole
from gen_searcher.engines.rank_group import Place
from gen_searcher.engines.weight_files import save_tensors
from gen_searcher.errors import UserError
from gen_searcher.points import Point, passed

TRAINER = "trainer.json"
LATEST = "latest"
"""Beside the checkpoints: the name of the last complete one."""
FORMAT = 2


class _Trainer(BaseModel):
    """What of `trainer.json` decides how a checkpoint is read; the rest is passed on as it is."""

    model_config = ConfigDict(extra="allow")

    format: int
    steps_done: int = Field(ge=0)
    world: int = Field(ge=1)
    base: str


def save(state: ShardedState, folder: Path, *, place: Place, optim: OptimConfig, base: Path, steps_done: int) -> None:
    """Write a checkpoint; every rank must call. Until the last byte is on disk nothing of that name exists.

    Args:
        state: What to write.
        folder: The checkpoint's own folder; one of the same name is replaced.
        place: This rank.
        optim: Written down, for people and for what must agree when the state is read again.
        base: Folder of the policy that the learner started from.
        steps_done: Updates so far.
    """
    partial = folder.with_name(folder.name + ".partial")
    if place.rank == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    dist.barrier()
    _save_own(state, partial / _state_file(place.rank, place.world), place=place, kinds=_kinds(steps_done))
    dist.barrier()
    if place.rank == 0:
        trainer = {
            "format": FORMAT,
            "steps_done": steps_done,
            "world": place.world,
            "base": str(base.resolve()),
            "lr_next": optim.lr_at(steps_done),
            "optim": optim.model_dump(mode="json"),
            "rng": "none: the learner draws nothing at random",
        }
        _write_text(partial / TRAINER, json.dumps(trainer, indent=2) + "\n")
        passed(Point.CHECKPOINT_WRITTEN)
        _replace_folder(partial, folder)
        passed(Point.CHECKPOINT_RENAMED)
        write_latest(folder)
        passed(Point.CHECKPOINT_POINTED)
    dist.barrier()


def load(state: ShardedState, folder: Path) -> int:
    """Read a checkpoint into the ranks, however many there are; every rank must call. Returns the updates so far."""
    trainer = read_trainer(folder)
    steps_done = int(str(trainer["steps_done"]))
    with ExitStack() as files, state.restoring(updates=steps_done):
        saved = SavedTensors.open(folder, files)
        for kind in _kinds(steps_done):
            shards = state.shards(kind)
            names = {name.removeprefix(f"{kind}/") for name in saved.names if name.startswith(f"{kind}/")}
            if names != shards.keys():
                odd = sorted(names ^ shards.keys())
                raise UserError(
                    f"{folder}: {len(odd)} parameters are trained either there or here but not both, e.g. {odd[0]}; "
                    "resume with the same `freeze` and `lora`"
                )
            for name, shard in shards.items():
                tensor = saved.tensor(f"{kind}/{name}")
                if tensor.shape != shard.shape:
                    raise UserError(
                        f"{folder}: {name} is {list(tensor.shape)} there and {list(shard.shape)} here; the checkpoint is of "
                        "another policy"
                    )
                run = tensor.flatten()[shard.start : shard.start + shard.values.numel()]
                shard.values.copy_(run)
    dist.barrier()
    return steps_done


def save_weights_alone(source: Path, folder: Path) -> None:
    """Copy a checkpoint without AdamW's averages: the loss and gradient of its next step need no more, a third of it.

    What is loaded from the copy has made no update yet, so nothing can be trained on from there as the run did.

    Raises:
        UserError: `source` is no checkpoint.
    """
    trainer = {**read_trainer(source), "steps_done": 0, "world": 1}
    folder.mkdir(parents=True)
    with ExitStack() as files:
        saved = SavedTensors.open(source, files)
        weights = {name: saved.tensor(name) for name in saved.names if name.startswith(f"{KINDS[0]}/")}
        save_tensors(weights, folder / _state_file(0, 1))
    _write_text(folder / TRAINER, json.dumps(trainer, indent=2) + "\n")
    write_latest(folder)


def read_trainer(folder: Path) -> dict[str, object]:
    """What `trainer.json` says.

    Raises:
        UserError: There is no checkpoint, or one that this version does not read.
    """
    path = folder / TRAINER
    if not path.is_file():
        raise UserError(f"{folder}: no {TRAINER}; this is not a checkpoint of a learner")
    try:
        trainer = _Trainer.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from error
    if trainer.format != FORMAT:
        raise UserError(f"{folder}: a checkpoint of another version of gen_searcher; start the stage over")
    return trainer.model_dump()


class SavedTensors:
    """The tensors of all state files, read from disk when asked for."""

    def __init__(self, file_of: Mapping[str, safe_open]) -> None:
        """`file_of` says which open file holds a tensor."""
        self._file_of = file_of

    @classmethod
    def open(cls, folder: Path, files: ExitStack) -> SavedTensors:
        """Open a checkpoint's files until `files` is closed."""
        world = int(str(read_trainer(folder)["world"]))
        file_of: dict[str, safe_open] = {}
        for rank in range(world):
            path = folder / _state_file(rank, world)
            if not path.is_file():
                raise UserError(f"{path}: missing; the checkpoint is damaged, resume from another one")
            try:
                file = files.enter_context(safe_open(path, framework="pt"))
            except SafetensorError as error:
                raise UserError(f"{path}: damaged ({error}); resume from another checkpoint") from error
            file_of.update(dict.fromkeys(file.keys(), file))
        return cls(file_of)

    @property
    def names(self) -> list[str]:
        """Of all tensors, `KIND/NAME`."""
        return list(self._file_of)

    def tensor(self, name: str) -> Tensor:
        """One whole tensor, float32."""
        return self._file_of[name].get_tensor(name)


def _kinds(steps_done: int) -> tuple[Kind, ...]:
    return KINDS if steps_done else ("master",)  # AdamW's averages exist from the first update on


def _save_own(state: ShardedState, path: Path, *, place: Place, kinds: tuple[Kind, ...]) -> None:
    """Join tensor after tensor; each goes to one rank, which writes about as much as the others."""
    own: dict[str, Tensor] = {}
    load = [0] * place.world
    for kind in kinds:
        for name, shard in state.shards(kind).items():
            owner = load.index(min(load))
            load[owner] += shard.shape.numel()
            tensor = whole(shard, owner=owner)
            if owner == place.rank:
                own[f"{kind}/{name}"] = tensor.cpu()
    save_tensors(own, path)
    _sync(path)


def _state_file(rank: int, world: int) -> str:
    return f"state-{rank}-of-{world}.safetensors"


def _replace_folder(partial: Path, folder: Path) -> None:
    _sync(partial)
    if folder.exists():
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old)
    else:
        partial.rename(folder)
    _sync(folder.parent)


def write_latest(folder: Path) -> None:
    """Point to a complete checkpoint."""
    partial = folder.with_name(LATEST + ".part")
    _write_text(partial, folder.name + "\n")
    partial.replace(folder.with_name(LATEST))
    _sync(folder.parent)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)
    _sync(path)


def _sync(path: Path) -> None:
    """Let file or folder reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
