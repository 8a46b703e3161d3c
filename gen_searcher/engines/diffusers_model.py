"""Any diffusers pipeline as an `ImageModel`: frozen, seeded, off the event loop, safetensors only."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false
# Reason: diffusers ships partial annotations.

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.util import find_spec
from typing import Protocol, cast

import torch
from PIL import Image, ImageOps

from gen_searcher.drawing import Capability, DrawOrder
from gen_searcher.engines.diffusers_batch import give_each_its_references
from gen_searcher.engines.diffusion_library import DiffusionPipeline

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


MAX_REFERENCES = 3
"""Unless the configuration says otherwise: what Qwen-Image-Edit takes."""
MIN_REFERENCE_PX = 64
"""Shorter side of a reference; FLUX.2 refuses smaller ones."""
MAX_ASPECT = 8
"""Longer side by shorter side of a reference; FLUX.2 refuses narrower ones."""
_NOT_IN_PICTURE = frozenset({"threads", "device", "batch"})
"""Keywords that do not belong to a model's revision."""


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
    max_references: int = MAX_REFERENCES
    """Further references are not shown to the model."""
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    """Further keywords of this pipeline's call."""


def paint(pipeline: Pipeline, call: Call, *, prompt: str, references: Sequence[Image.Image], seed: int) -> Image.Image:
    """Draw one picture; the same arguments give the same pixels on one machine."""
    shown = [_sized(reference, call.reference_size_px) for reference in references[: call.max_references]]
    return _run(pipeline, call, prompt=prompt, shown=shown, generator=torch.Generator().manual_seed(seed))[0]


def paint_batch(pipeline: Pipeline, call: Call, orders: Sequence[DrawOrder]) -> Mapping[str, Image.Image]:
    """Draw orders of one shape in one pass, each from its own seed: picture i of B gets references [i k, (i + 1) k).

    The pipeline must know that (`give_each_its_references`) unless the orders have no references.
    """
    shown = [
        _sized(reference, call.reference_size_px)
        for order in orders
        for reference in order.references[: call.max_references]
    ]
    generators = [torch.Generator().manual_seed(order.seed) for order in orders]
    prompts = [order.prompt for order in orders]
    drawn = _run(pipeline, call, prompt=prompts, shown=shown, generator=generators)
    return {order.id: picture for order, picture in zip(orders, drawn, strict=True)}


def _run(
    pipeline: Pipeline,
    call: Call,
    *,
    prompt: str | Sequence[str],
    shown: Sequence[Image.Image],
    generator: torch.Generator | Sequence[torch.Generator],
) -> list[Image.Image]:
    arguments: dict[str, object] = {
        "prompt": prompt,
        "width": call.size_px[0],
        "height": call.size_px[1],
        "num_inference_steps": call.steps,
        call.guidance_name: call.guidance,
        "generator": generator,
        **call.extra,
    }
    if not isinstance(prompt, str) and isinstance(negative := arguments.get("negative_prompt"), str):
        arguments["negative_prompt"] = [negative] * len(prompt)  # pipelines want as many of them as prompts
    if shown:
        arguments["image"] = shown
    with torch.inference_mode():
        return [picture.convert("RGB") for picture in pipeline(**arguments).images]


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
        max_references: int = MAX_REFERENCES,
        reference_size_px: tuple[int, int] | None = None,
        dtype: str = "bfloat16",
        device: str = "cpu",
        threads: int | None = None,
        batch: int = 1,
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
            batch: Most pictures per pass, see `gen_searcher.engines.diffusers_batch`; 1 draws one at a time. Pictures
                of a batch can differ from those drawn alone in the last bit of a colour.
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
        self._shares_references = not give_each_its_references(self.pipeline)
        self._lock = asyncio.Lock()

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """What the constructor's keywords say."""
        return declared(keywords)

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """Draw one picture; calls wait for each other, the event loop does not."""
        async with self._lock:
            return await asyncio.to_thread(
                paint, self.pipeline, self.call, prompt=prompt, references=references, seed=seed
            )

    def batch_shape(self, order: DrawOrder) -> str:
        """Number and sizes of the references; their content too where the pipeline gives all pictures the same ones."""
        shown = order.references[: self.call.max_references]
        sizes = [str(self.call.reference_size_px or reference.size) for reference in shown]
        contents = [sha256(reference.tobytes()).hexdigest() for reference in shown if self._shares_references]
        return " ".join([*sizes, *contents])

    async def draw_batch(self, orders: Sequence[DrawOrder]) -> Mapping[str, Image.Image]:
        """Draw orders of one shape in one pass."""
        if self._shares_references:
            orders = [orders[0], *(replace(order, references=()) for order in orders[1:])]
        async with self._lock:
            return await asyncio.to_thread(paint_batch, self.pipeline, self.call, orders)


def declared(keywords: Mapping[str, object]) -> Capability:
    """The capability of a diffusers model, from the keywords that all of them share."""
    most, batch = keywords.get("max_references", MAX_REFERENCES), keywords.get("batch", 1)
    size_px = keywords.get("size_px")
    revision = "|".join(f"{name}={value}" for name, value in sorted(keywords.items()) if name not in _NOT_IN_PICTURE)
    return Capability(
        max_references=cast("int", most),
        sizes_px=() if size_px is None else (cast("tuple[int, int]", size_px),),
        batch=cast("int", batch),
        revision=revision,
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
    """The reference as pipelines take it: not too narrow (black bars) and not too small (enlarged)."""
    image = image.convert("RGB")
    if size_px is not None:
        return image.resize(size_px, Image.Resampling.LANCZOS)
    least = -(-max(image.size) // MAX_ASPECT)
    image = ImageOps.pad(image, (max(image.width, least), max(image.height, least)))
    factor = MIN_REFERENCE_PX / min(image.size)
    if factor <= 1.0:
        return image
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
