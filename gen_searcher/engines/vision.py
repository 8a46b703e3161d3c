"""Pictures of a row -> what the language model reads of them, from a tower that learns or from one that stands still.

A frozen tower stands outside the sharded module, whole on every rank: nothing of it needs a gradient, so no
collective waits for it, and each rank runs it for the pictures that it meets first. It runs once per picture:
attempts of a group look at the same ones, and so does every epoch.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers and torch.nn modules are only partly typed)

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import FloatTensor, LongTensor, Tensor, nn

from gen_searcher.config.optim import Frozen
from gen_searcher.engines.qwen_models import BaseModelOutputWithPooling, QwenModel, QwenTower, deepstack
from gen_searcher.grpo.tensors import Pixels, RowTensors, blank_patches, patch_grid
from gen_searcher.types import ImageRef

TOWER = "model.visual."
"""Of the tower's weights in a Hugging Face folder."""
PROJECTORS = ("merger.", "deepstack_merger_list.")
"""Of the projectors' weights, inside the tower."""


@dataclass(slots=True, kw_only=True)
class Features:
    """What the vision tower makes of pictures; transformers reads it under these names."""

    pooler_output: Sequence[Tensor]
    """Of each picture: [tokens, H] for the input of the language model."""
    deepstack_features: list[Sequence[Tensor]]
    """For each of the first layers, of each picture: [tokens, H] to add to that layer's output; Qwen2.5-VL has none."""


class Vision(Protocol):
    """Where a row's picture features come from."""

    def __call__(self, row: RowTensors) -> Features:
        """Features of the row's placeholders, in order."""
        ...


class TrainedVision:
    """Runs the model's own tower on the row's distinct pictures, with a gradient."""

    def __init__(self, model: QwenModel) -> None:
        """`model` keeps its tower."""
        self._body = model.model

    def __call__(self, row: RowTensors) -> Features:
        """Features of the row's placeholders, in order."""
        found = cast(
            "BaseModelOutputWithPooling",
            self._body.get_image_features(cast("FloatTensor", row.patches), cast("LongTensor", row.grids)),
        )
        input_U = cast("Sequence[Tensor]", found.pooler_output)
        return Features(
            pooler_output=[input_U[index] for index in row.picture_of_I],
            deepstack_features=[[level[index] for index in row.picture_of_I] for level in deepstack(found)],
        )


class FrozenVision:
    """Runs the tower once per picture and keeps the result, up to a limit of memory.

    Each picture goes through alone, so that its features do not depend on the row that met it first: a resumed run,
    whose cache is empty, reads the same bits.
    """

    def __init__(self, tower: QwenTower, *, pixels: Pixels, limit_mib: int, device: str) -> None:
        """Take over a tower that nothing else holds.

        Args:
            tower: In the number format to compute in.
            pixels: Patches of a stored picture.
            limit_mib: Most host memory for features [MiB]; what was not used for longest goes first.
            device: Where the tower computes.
        """
        self._tower = cast("nn.Module", tower).to(device).requires_grad_(False).eval()
        self._pixels = pixels
        self._limit_bytes = limit_mib << 20
        self._device = device
        self._dtype = tower.dtype
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    @classmethod
    def take_from(
        cls,
        model: QwenModel,
        *,
        dtype: torch.dtype,
        pixels: Pixels,
        limit_mib: int,
        device: str = "cpu",
    ) -> FrozenVision:
        """Move the tower out of the model, whose parameters are from then on those of the language model."""
        tower = cast("QwenTower", model.model.visual)
        del model.model.visual
        for parameter in tower.parameters():  # not `tower.to(dtype)`: rotary frequencies must stay float32
            parameter.data = parameter.data.to(dtype)
        return cls(tower, pixels=pixels, limit_mib=limit_mib, device=device)

    def __call__(self, row: RowTensors) -> Features:
        """Features of the row's placeholders, in order."""
        of_U = [self.features(picture).to(self._device) for picture in row.pictures_U]
        of_I = [of_U[index] for index in row.picture_of_I]
        levels = len(of_U[0])
        return Features(
            pooler_output=[found[0] for found in of_I],
            deepstack_features=[[found[level] for found in of_I] for level in range(1, levels)],
        )

    def features(self, picture: ImageRef | None) -> Tensor:
        """Of one picture, [1 + levels, tokens, H] in host memory: the input's, then each deepstack level's.

        Args:
            picture: None for the blank one that stands in for none.
        """
        key = picture.sha256 if picture is not None else "blank"
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        found = self._compute(picture)
        self._kept[key] = found
        self._bytes += found.nbytes
        while self._bytes > self._limit_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return found

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Of the tower, under their Hugging Face names."""
        for name, parameter in self._tower.named_parameters():
            yield TOWER + name, parameter.detach()

    @torch.no_grad()
    def _compute(self, picture: ImageRef | None) -> Tensor:
        patches = self._pixels(picture) if picture is not None else blank_patches()
        grid = torch.tensor([patch_grid(picture)], device=self._device)
        found = self._tower(patches.to(self._device, self._dtype), grid_thw=grid)
        return torch.stack([found.pooler_output, *cast("Sequence[Tensor]", deepstack(found))]).cpu()


def freeze(model: nn.Module, parts: Sequence[Frozen]) -> None:
    """Stop the gradient of the vision tower, of its projectors, or of both; they stay in the model."""
    for name, parameter in model.named_parameters():
        if name.startswith(TOWER):
            is_projector = name.removeprefix(TOWER).startswith(PROJECTORS)
            if ("projector" if is_projector else "vision") in parts:
                parameter.requires_grad_(False)
