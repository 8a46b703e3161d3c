"""Any diffusers pipeline as an `ImageModel`: frozen, seeded, off the event loop, safetensors only."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false
# Reason: diffusers ships partial annotations.

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Protocol, cast

import torch
from PIL import Image

from gen_searcher.engines.diffusion_library import DiffusionPipeline

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class _Drawn(Protocol):
    images: list[Image.Image]


class Pipeline(Protocol):
    """The part of a diffusers pipeline that draws."""

    def __call__(self, **arguments: object) -> _Drawn:
        """Draw pictures."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How a pipeline is called, apart from prompt, references and seed."""

    size_px: tuple[int, int]
    """Width and height of the picture."""
    steps: int
    guidance: float
    guidance_name: str = "guidance_scale"
    """What this pipeline calls its guidance: `guidance_scale`, `true_cfg_scale`, ..."""
    reference_size_px: tuple[int, int] | None = None
    """References are resized to this; None leaves them as they are."""
    max_references: int = 3
    """Further references are not shown to the model."""
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    """Further keywords of this pipeline's call."""


def paint(pipeline: Pipeline, call: Call, *, prompt: str, references: Sequence[Image.Image], seed: int) -> Image.Image:
    """Draw one picture; the same arguments give the same pixels on one machine."""
    shown = [
        _sized(reference.convert("RGB"), call.reference_size_px) for reference in references[: call.max_references]
    ]
    arguments: dict[str, object] = {
        "prompt": prompt,
        "width": call.size_px[0],
        "height": call.size_px[1],
        "num_inference_steps": call.steps,
        call.guidance_name: call.guidance,
        "generator": torch.Generator().manual_seed(seed),
        **call.extra,
    }
    if shown:
        arguments["image"] = shown
    with torch.inference_mode():
        return pipeline(**arguments).images[0].convert("RGB")


class DiffusersModel:
    """A pipeline from a folder or the hub."""

    def __init__(
        self,
        *,
        pipeline: str,
        path: str,
        size_px: tuple[int, int],
        steps: int,
        guidance: float = 1.0,
        guidance_name: str = "guidance_scale",
        max_references: int = 3,
        reference_size_px: tuple[int, int] | None = None,
        dtype: str = "bfloat16",
        device: str = "cpu",
        threads: int | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Load the weights.

        Args:
            pipeline: Class name in diffusers, e.g. `Flux2KleinPipeline`.
            path: Folder or hub id; only safetensors are read.
            size_px: Width and height of the pictures.
            steps: Denoising steps.
            guidance: Value of the pipeline's guidance keyword.
            guidance_name: Name of that keyword.
            max_references: Further references are not shown to the model.
            reference_size_px: References are resized to this width and height; None leaves them alone.
            dtype: `float32`, `bfloat16` or `float16`.
            device: `cpu`, `cuda`, `cuda:1`, ...
            threads: Torch threads of this whole process; None leaves them alone.
            extra: Further keywords of the pipeline's call.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self.call = Call(
            size_px=(size_px[0], size_px[1]),
            steps=steps,
            guidance=guidance,
            guidance_name=guidance_name,
            reference_size_px=reference_size_px and (reference_size_px[0], reference_size_px[1]),
            max_references=max_references,
            extra=dict(extra or {}),
        )
        self.pipeline = load_pipeline(pipeline, path, dtype=dtype, device=device)
        self._lock = asyncio.Lock()

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """Draw one picture; calls wait for each other, the event loop does not."""
        async with self._lock:
            return await asyncio.to_thread(
                paint, self.pipeline, self.call, prompt=prompt, references=references, seed=seed
            )


def load_pipeline(pipeline: str, path: str, *, dtype: str, device: str, **components: object) -> Pipeline:
    """A frozen pipeline in evaluation mode; `components` replace those of the folder."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r}; choose one of {', '.join(DTYPES)}")
    named = getattr(importlib.import_module("diffusers"), pipeline, None)
    if named is None:
        raise ValueError(f"diffusers has no pipeline named {pipeline!r}")
    kind = cast("type[DiffusionPipeline]", named)
    loaded = kind.from_pretrained(
        path,
        dtype=DTYPES[dtype],
        use_safetensors=True,
        low_cpu_mem_usage=find_spec("accelerate") is not None,  # diffusers asks for that package at every start
        **components,
    ).to(device)
    loaded.set_progress_bar_config(disable=True)
    for part in loaded.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(requires_grad=False)
    return cast("Pipeline", loaded)


def _sized(image: Image.Image, size_px: tuple[int, int] | None) -> Image.Image:
    return image if size_px is None else image.resize(size_px, Image.Resampling.LANCZOS)
