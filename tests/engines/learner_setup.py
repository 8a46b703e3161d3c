"""A Qwen3-VL of a few hundred thousand weights and ragged samples with pictures, for the learner's tests."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gen_searcher.engines.qwen_forward import Qwen3VLForConditionalGeneration
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Sample

VOCAB = 96
IMAGE_TOKEN = 90
VIDEO_TOKEN = 91
VISION_START, VISION_END = 88, 89


def tiny_qwen(
    *, hidden: int = 64, layers: int = 3, vocab: int = VOCAB, std: float = 0.15
) -> Qwen3VLForConditionalGeneration:
    from transformers import Qwen3VLConfig

    head = hidden // 4
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": vocab,
            "hidden_size": hidden,
            "intermediate_size": hidden * 3,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": head,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [head // 2 - 2 * (head // 6), head // 6, head // 6],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": hidden,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=IMAGE_TOKEN,
        video_token_id=VIDEO_TOKEN,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=std)
    model.tie_weights()
    return model


def save_tiny(folder: Path) -> Path:
    tiny_qwen().save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def picture(store: ImageStore, seed: int, *, width: int = 64, height: int = 64) -> ImageRef:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return store.put(Image.fromarray(pixels))


def sample(
    *, seed: int, tokens: int, images: tuple[ImageRef, ...] = (), advantage: float = 1.0, drift: float = 0.6
) -> Sample:
    """A sequence of two turns; about half of it is sampled, the second turn shows the pictures."""
    rng = random.Random(seed)
    words = [rng.randrange(80) for _ in range(tokens)]
    mask = [index > tokens // 5 and index % 7 > 2 for index in range(tokens)]
    place = next(index for index in range(tokens // 2, tokens) if not mask[index])
    shown = [token for _ in images for token in (VISION_START, IMAGE_TOKEN, VISION_END)]
    words[place:place] = shown
    mask[place:place] = [False] * len(shown)
    logprobs = [-4.5 + rng.uniform(-drift, drift) if is_sampled else 0.0 for is_sampled in mask]
    return Sample(
        token_ids=tuple(words), loss_mask=tuple(mask), logprobs=tuple(logprobs), images=images, advantage=advantage
    )


def mixed_samples(store: ImageStore) -> list[Sample]:
    """Five samples with 1, 0, 3, 0 and 2 pictures, of both signs; three rows of 160 tokens."""
    views = [picture(store, seed, width=32 * (1 + seed % 2), height=64) for seed in range(3)]
    return [
        sample(seed=1, tokens=60, images=(views[0],)),
        sample(seed=2, tokens=41, advantage=-1.2),
        sample(seed=3, tokens=90, images=tuple(views), advantage=0.5),
        sample(seed=4, tokens=75, advantage=-0.3),
        sample(seed=5, tokens=50, images=(views[2], views[0]), advantage=0.9),
    ]
