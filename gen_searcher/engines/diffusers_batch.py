"""References for each picture of a batch: diffusers' Flux2 Klein gives all pictures of a batch the same ones.

    image = [a1, a2, b1, b2], prompt = [a, b]  ->  a sees a1 a2, b sees b1 b2

The pipeline encodes references in one method; that method is asked once per picture. Encoded references are kept for the
next drawings: attempts at one task choose the same few pictures over and over, and encoding depends on nothing else.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportPrivateUsage=false
# Reason: diffusers ships partial annotations.

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

import torch
from torch import Tensor

from gen_searcher.engines.diffusion_library import Flux2KleinPipeline

KEPT = 256
"""Encoded references that are kept; at 1024 px one takes 1 MiB in bfloat16."""


class EncodedReferences:
    """Stands in for the pipeline's `_encode_vae_image`: one picture -> its latents, from memory when seen before."""

    def __init__(self, encode: Callable[..., Tensor]) -> None:
        """`encode` is the method of the pipeline; it takes the distribution's mode, so it draws from no generator."""
        self._encode = encode
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, image: Tensor, generator: object) -> Tensor:
        """[1, C, H, W] latents of one picture."""
        content = image.detach().float().cpu().contiguous().numpy().tobytes()
        key = sha256(f"{tuple(image.shape)} {image.dtype}".encode() + content).hexdigest()
        if key not in self._kept:
            self._kept[key] = self._encode(image=image, generator=generator)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


class ReferenceRows:
    """Stands in for the pipeline's `prepare_image_latents`: asks it once per picture of the batch."""

    def __init__(self, prepare: Callable[..., tuple[Tensor, Tensor]]) -> None:
        """`prepare` is the method of the pipeline."""
        self._prepare = prepare

    def __call__(
        self, images: list[Tensor], batch_size: int, generator: object, device: torch.device, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Latents [B, k N, C] and places [B, k N, 4] of `images`, k per picture in the order of the pictures."""
        if len(images) % batch_size:
            raise ValueError(f"{len(images)} references cannot be shared out evenly among {batch_size} pictures")
        each = len(images) // batch_size
        rows = [
            self._prepare(
                images=images[row * each : (row + 1) * each], batch_size=1, generator=None, device=device, dtype=dtype
            )
            for row in range(batch_size)
        ]
        return torch.cat([latents for latents, _ in rows]), torch.cat([places for _, places in rows])


def give_each_its_references(pipeline: object) -> bool:
    """Let each picture of a batch have its own references. False for a pipeline that cannot."""
    if not isinstance(pipeline, Flux2KleinPipeline):
        return False
    pipeline._encode_vae_image = EncodedReferences(pipeline._encode_vae_image)
    pipeline.prepare_image_latents = ReferenceRows(pipeline.prepare_image_latents)
    return True
