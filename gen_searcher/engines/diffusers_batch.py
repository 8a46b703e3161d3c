"""References for each picture of a batch: diffusers' FLUX.2 gives all pictures of a batch the same ones.

    image = [a1, a2, b1, b2], prompt = [a, b]  ->  a sees a1 a2, b sees b1 b2

The pipeline encodes references in one method; that method is asked for one reference at a time. Encoded references are
kept for the next drawings: attempts at one task choose the same few pictures over and over, and encoding depends on
nothing else. Where a token of a reference lies depends on the sizes of the references alone, and is kept by them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false
# Reason: diffusers ships partial annotations.

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

import torch
from torch import Tensor

from gen_searcher.engines.diffusion_library import Flux2KleinPipeline, Flux2Pipeline

KEPT = 256
"""Encoded references that are kept; at 1024 px one takes 1 MiB in bfloat16."""

_Shapes = tuple[tuple[int, ...], ...]


class ReferenceRows:
    """Stands in for the pipeline's `prepare_image_latents`: each picture of the batch gets its own references."""

    def __init__(self, prepare: Callable[..., tuple[Tensor, Tensor]]) -> None:
        """`prepare` is the method of the pipeline; it takes the distribution's mode, so it draws from no generator."""
        self._prepare = prepare
        self._latents: OrderedDict[str, Tensor] = OrderedDict()
        self._places: OrderedDict[_Shapes, Tensor] = OrderedDict()

    def __call__(
        self, images: list[Tensor], batch_size: int, generator: object, device: torch.device, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Latents [B, k N, C] and places [B, k N, 4] of `images`, k per picture in the order of the pictures."""
        if len(images) % batch_size:
            raise ValueError(f"{len(images)} references cannot be shared out evenly among {batch_size} pictures")
        each = len(images) // batch_size
        rows = [images[row * each : (row + 1) * each] for row in range(batch_size)]
        latents = torch.cat([torch.cat([self._encoded(image, device, dtype) for image in row], dim=1) for row in rows])
        return latents, torch.cat([self._placed(row, device, dtype) for row in rows])

    def _encoded(self, image: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Latents [1, N, C] of one reference."""
        content = image.detach().float().cpu().contiguous().numpy().tobytes()
        key = sha256(f"{tuple(image.shape)} {dtype} {device}".encode() + content).hexdigest()
        if key not in self._latents:
            self._latents[key], _ = self._asked([image], device, dtype)
        self._latents.move_to_end(key)
        while len(self._latents) > KEPT:
            self._latents.popitem(last=False)
        return self._latents[key]

    def _placed(self, row: list[Tensor], device: torch.device, dtype: torch.dtype) -> Tensor:
        """Places [1, k N, 4] of one picture's references."""
        shapes = tuple(tuple(image.shape) for image in row)
        if shapes not in self._places:
            _, self._places[shapes] = self._asked(row, device, dtype)
        self._places.move_to_end(shapes)
        while len(self._places) > KEPT:  # references come from the web, in every shape
            self._places.popitem(last=False)
        return self._places[shapes]

    def _asked(self, images: list[Tensor], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return self._prepare(images=images, batch_size=1, generator=None, device=device, dtype=dtype)


def give_each_its_references(pipeline: object) -> bool:
    """Let each picture of a batch have its own references. False for a pipeline that cannot."""
    if not isinstance(pipeline, Flux2KleinPipeline | Flux2Pipeline):
        return False
    pipeline.prepare_image_latents = ReferenceRows(pipeline.prepare_image_latents)
    return True
