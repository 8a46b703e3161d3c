"""`QwenImageEditPlusPipeline` as an `ImageModel`, with three repairs that diffusers 0.42 needs beside transformers 5.

1. The stock processor wants a video processor, and with it a working torchvision; `PlainProcessor` does not.
2. Reference sizes are constants of the pipeline's module (1024x1024 and 384x384 px); here they are settings.
3. The pipeline does not say which tokens are image tokens, and the text encoder then silently gives pictures the
   positions of words: other hidden states, no warning. `mark_image_tokens` says it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false
# Reason: diffusers and transformers ship partial annotations.

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import torch
from PIL import Image

from gen_searcher.drawing import Capability
from gen_searcher.engines.diffusers_model import MAX_REFERENCES, Call, Pipeline, declared, load_pipeline, paint
from gen_searcher.engines.qwen_library import (
    AutoTokenizer,
    BatchFeature,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    edit_plus,
)

BLANK = "#ffffff"
"""Colour of the canvas that stands in for a reference where there is none: an answer may name none, and the baseline without
a search never does. Were that an error, it would be the world's, and the policy would learn nothing from its choice."""
_IMAGE_TOKEN = "<|image_pad|>"


class _TextEncoder(Protocol):
    forward: Callable[..., object]
    config: object


class PlainProcessor:
    """What the pipeline asks of its processor: pictures to patches, one placeholder to as many as there are patches."""

    def __init__(self, *, tokenizer: PreTrainedTokenizerFast, image_processor: Qwen2VLImageProcessorPil) -> None:
        """Both from the model's own folder."""
        self.tokenizer = tokenizer
        self.image_processor = image_processor

    def __call__(
        self,
        *,
        text: Sequence[str],
        images: Sequence[Image.Image] | None = None,
        padding: bool = True,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Token ids, attention mask and, with pictures, pixel values and their grids."""
        features: dict[str, object] = {}
        texts = list(text)
        if images:
            seen = self.image_processor(images=list(images), return_tensors=return_tensors)
            grids = cast("torch.Tensor", seen["image_grid_thw"])
            features = {"pixel_values": seen["pixel_values"], "image_grid_thw": grids}
            merged = int(self.image_processor.merge_size) ** 2
            texts = [expand_placeholders(one, [int(grid.prod()) // merged for grid in grids]) for one in texts]
        tokens = self.tokenizer(texts, padding=padding, return_tensors=return_tensors)
        features |= {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
        return BatchFeature(features)


def expand_placeholders(text: str, counts: Sequence[int]) -> str:
    """Each image placeholder in turn becomes `counts` of them."""
    first, *rest = text.split(_IMAGE_TOKEN)
    if len(rest) != len(counts):
        raise ValueError(f"{len(rest)} image placeholders in the prompt for {len(counts)} pictures")
    return first + "".join(_IMAGE_TOKEN * count + part for count, part in zip(counts, rest, strict=True))


def mark_image_tokens(text_encoder: _TextEncoder, *, image_token_id: int) -> None:
    """Tell the text encoder which tokens are image tokens whenever it gets pictures and is not told."""
    forward = text_encoder.forward

    def marked(**arguments: object) -> object:
        token_ids = arguments.get("input_ids")
        is_unmarked = arguments.get("image_grid_thw") is not None and arguments.get("mm_token_type_ids") is None
        if is_unmarked and isinstance(token_ids, torch.Tensor):
            arguments["mm_token_type_ids"] = (token_ids == image_token_id).int()
        return forward(**arguments)

    text_encoder.forward = marked


def set_reference_sizes(*, condition_px: int, vae_px: int) -> None:
    """Side of the square that references are scaled to, for the text encoder and for the VAE; process-wide."""
    edit_plus.CONDITION_IMAGE_SIZE = condition_px**2
    edit_plus.VAE_IMAGE_SIZE = vae_px**2


class QwenEditModel:
    """Qwen-Image-Edit (Plus): up to three references and a prompt."""

    def __init__(
        self,
        *,
        path: str,
        size_px: tuple[int, int],
        steps: int,
        guidance: float = 4.0,
        negative_prompt: str = " ",
        condition_px: int = 384,
        vae_px: int = 1024,
        template_start_tokens: int | None = None,
        max_references: int = MAX_REFERENCES,
        dtype: str = "bfloat16",
        device: str = "cuda",
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Load the weights.

        Args:
            path: Folder or hub id; only safetensors are read.
            size_px: Width and height of the pictures.
            steps: Denoising steps.
            guidance: The pipeline's `true_cfg_scale`; 1 switches guidance off.
            negative_prompt: What guidance steers away from.
            condition_px: References are scaled to about this square for the text encoder.
            vae_px: References are scaled to about this square for the VAE.
            template_start_tokens: Length of the prompt template before the user's words; None for the model's own.
            max_references: Further references are not shown to the model.
            dtype: `float32`, `bfloat16` or `float16`.
            device: `cpu`, `cuda`, `cuda:1`, ...
            extra: Further keywords of the pipeline's call.
        """
        tokenizer = AutoTokenizer.from_pretrained(path, subfolder="tokenizer", trust_remote_code=False)
        processor = PlainProcessor(
            tokenizer=tokenizer,
            image_processor=Qwen2VLImageProcessorPil.from_pretrained(path, subfolder="processor"),
        )
        loaded = load_pipeline(
            "QwenImageEditPlusPipeline", path, dtype=dtype, device=device, processor=processor, tokenizer=tokenizer
        )
        pipeline = cast("edit_plus.QwenImageEditPlusPipeline", loaded)
        if template_start_tokens is not None:
            pipeline.prompt_template_encode_start_idx = template_start_tokens
        mark_image_tokens(pipeline.text_encoder, image_token_id=int(tokenizer.convert_tokens_to_ids(_IMAGE_TOKEN)))
        set_reference_sizes(condition_px=condition_px, vae_px=vae_px)
        self.pipeline = cast("Pipeline", pipeline)
        self.call = Call(
            size_px=(size_px[0], size_px[1]),
            steps=steps,
            guidance=guidance,
            guidance_name="true_cfg_scale",
            max_references=max_references,
            extra={"negative_prompt": negative_prompt, **(extra or {})} if guidance > 1 else dict(extra or {}),
        )
        self._lock = asyncio.Lock()

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """What the constructor's keywords say; the pipeline takes one prompt at a time."""
        return declared(keywords)

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """Draw one picture; the pipeline takes one prompt at a time.

        It edits pictures and cannot go without one: where there is no reference it is given a blank canvas to edit.
        """
        shown = references or [Image.new("RGB", self.call.size_px, BLANK)]
        async with self._lock:
            return await asyncio.to_thread(paint, self.pipeline, self.call, prompt=prompt, references=shown, seed=seed)
