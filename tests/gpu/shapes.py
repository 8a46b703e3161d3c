"""Qwen3-VL-8B with random weights, packed rows for it, and what a pass over them costs in operations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gen_searcher.engines.qwen_forward import Qwen3VLForConditionalGeneration
from gen_searcher.engines.segments import ATTENTION
from gen_searcher.grpo.tensors import RowTensors, row_tensors
from gen_searcher.types import ImageRef, Sample

IMAGE_TOKEN = 151_655
PICTURE_PX = 384
"""Side of a picture: 144 vision tokens, near the 156 of the paper's 160,000 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a policy."""

    hidden: int = 4096
    intermediate: int = 12_288
    layers: int = 36
    heads: int = 32
    key_heads: int = 8
    head_dim: int = 128
    vocab: int = 151_936
    image_token: int = IMAGE_TOKEN
    vision_layers: int = 27
    vision_hidden: int = 1152
    vision_heads: int = 16
    vision_intermediate: int = 4304
    deepstack: tuple[int, ...] = (8, 16, 24)
    rope_sections: tuple[int, int, int] = (24, 20, 20)

    @property
    def matmul_weights(self) -> int:
        """Weights of the language model that every token is multiplied with, the output head not among them."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.key_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)


SMALL = Shape(
    hidden=64,
    intermediate=128,
    layers=3,
    heads=4,
    key_heads=2,
    head_dim=16,
    vocab=128,
    image_token=120,
    vision_layers=2,
    vision_hidden=32,
    vision_heads=2,
    vision_intermediate=64,
    deepstack=(0, 1),
    rope_sections=(4, 2, 2),
)
"""The same architecture at a size that a test on a CPU can afford."""


def random_policy(shape: Shape, *, device: str, dtype: torch.dtype) -> Qwen3VLForConditionalGeneration:
    """A policy with random weights, built where it will compute."""
    from transformers import Qwen3VLConfig

    config = Qwen3VLConfig(
        text_config={
            "vocab_size": shape.vocab,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.key_heads,
            "head_dim": shape.head_dim,
            "max_position_embeddings": 262_144,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": list(shape.rope_sections),
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": shape.vision_layers,
            "hidden_size": shape.vision_hidden,
            "intermediate_size": shape.vision_intermediate,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": list(shape.deepstack),
        },
        image_token_id=shape.image_token,
        video_token_id=shape.image_token + 1,
        vision_start_token_id=shape.image_token - 3,
        vision_end_token_id=shape.image_token - 2,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen3VLForConditionalGeneration(config)
    for parameter in model.parameters():  # rotary frequencies stay float32
        parameter.data = parameter.data.to(dtype)
    model.set_attn_implementation({"text_config": ATTENTION, "vision_config": "sdpa"})
    return model.train()


def packed_samples(row_tokens: int, *, shape: Shape, pictures: int) -> tuple[Sample, ...]:
    """Samples of ragged length that fill a row exactly, each with pictures."""
    rng = random.Random(row_tokens)
    tokens_of_picture = (PICTURE_PX // 32) ** 2
    least = pictures * tokens_of_picture + 64
    lengths: list[int] = []
    while (left := row_tokens - sum(lengths)) > 2 * least:
        lengths.append(min(rng.randint(least, 3 * least), left - least))
    lengths.append(left)
    return tuple(
        _sample(rng, length, shape=shape, pictures=pictures, row=number) for number, length in enumerate(lengths)
    )


def _sample(rng: random.Random, length: int, *, shape: Shape, pictures: int, row: int) -> Sample:
    text = length - pictures * (PICTURE_PX // 32) ** 2
    ids = [rng.randrange(shape.image_token - 8) for _ in range(text)]
    ids[8:8] = [shape.image_token] * pictures
    mask = tuple(index > len(ids) // 2 for index in range(len(ids)))
    images = tuple(
        ImageRef(sha256=f"{row:032x}{number:032x}", width_px=PICTURE_PX, height_px=PICTURE_PX)
        for number in range(pictures)
    )
    return Sample(token_ids=tuple(ids), loss_mask=mask, logprobs=(-1.0,) * len(ids), images=images, advantage=1.0)


def noise_patches(ref: ImageRef) -> torch.Tensor:
    """Pixels of a picture that nobody stored."""
    generator = torch.Generator().manual_seed(int(ref.sha256, 16) % 2**31)
    return torch.randn((ref.width_px // 16) * (ref.height_px // 16), 1536, generator=generator).clamp(-1, 1)


def row_of(samples: Sequence[Sample], *, shape: Shape) -> RowTensors:
    """One packed row."""
    return row_tensors(tuple(samples), image_token_id=shape.image_token, pixels=noise_patches)


def language_flops(shape: Shape, lengths: Sequence[int], *, trained_tokens: int, passes: int) -> int:
    """Of the language model over a packed row.

    Args:
        shape: Sizes.
        lengths: Tokens of each segment.
        trained_tokens: Those that meet the output head.
        passes: 1 for a forward pass, 3 with backward, 4 when activations are recomputed.
    """
    weights = 2 * shape.matmul_weights * sum(lengths)
    pairs = sum(length * length for length in lengths) // 2  # causal
    attention = 4 * shape.layers * shape.heads * shape.head_dim * pairs
    return passes * (weights + attention) + min(passes, 3) * 2 * shape.hidden * shape.vocab * trained_tokens
