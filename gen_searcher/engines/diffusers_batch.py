"""References for each picture of a batch: diffusers' Flux2 Klein gives all pictures of a batch the same ones.

    image = [a1, a2, b1, b2], prompt = [a, b]  ->  a sees a1 a2, b sees b1 b2

The pipeline encodes references in one method; that method is asked once per picture. Encoded references are kept for the
next drawings: attempts at one task choose the same few pictures over and over, and encoding depends on nothing else.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false
# Reason: diffusers ships partial annotations.

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from gen_searcher.engines.diffusion_library import Flux2KleinPipeline

KEPT = 256
"""Encoded reference lists that are kept; at 1024 px one reference takes 1 MiB in bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    latents: Tensor
    ids: Tensor


class ReferenceEncoder:
    """Stands in for the pipeline's `prepare_image_latents`."""

    def __init__(self, encode: Callable[..., tuple[Tensor, Tensor]]) -> None:
        """`encode` is the method of the pipeline."""
        self._encode = encode
        self._kept: OrderedDict[str, _Encoded] = OrderedDict()

    def __call__(
        self,
        images: list[Tensor],
        batch_size: int,
        generator: object,
        device: torch.device,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Latents [B, k N, C] and places [B, k N, 4] of `images`, k per picture in the order of the pictures."""
        if len(images) % batch_size:
            raise ValueError(f"{len(images)} references cannot be shared out evenly among {batch_size} pictures")
        each = len(images) // batch_size
        rows = [
            self._encoded(images[row * each : (row + 1) * each], device=device, dtype=dtype)
            for row in range(batch_size)
        ]
        return torch.cat([row.latents for row in rows]), torch.cat([row.ids for row in rows])

    def _encoded(self, images: list[Tensor], *, device: torch.device, dtype: torch.dtype) -> _Encoded:
        digest = sha256()
        for image in images:
            digest.update(f"{tuple(image.shape)}".encode() + image.contiguous().cpu().numpy().tobytes())
        key = digest.hexdigest()
        if key not in self._kept:
            # The mode of the encoder's distribution is taken, so no generator is drawn from.
            latents, ids = self._encode(images=images, batch_size=1, generator=None, device=device, dtype=dtype)
            self._kept[key] = _Encoded(latents=latents, ids=ids)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


def give_each_its_references(pipeline: object) -> bool:
    """Let each picture of a batch have its own references. False for a pipeline that cannot."""
    if not isinstance(pipeline, Flux2KleinPipeline):
        return False
    pipeline.prepare_image_latents = ReferenceEncoder(pipeline.prepare_image_latents)
    return True
