"""A running policy of half a million parameters, and plain transformers on the same weights to compare with."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer

from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Completion, ImageRef, Prompt, Sampling

if TYPE_CHECKING:
    from transformers import Qwen3VLForConditionalGeneration

CONFIG = PolicyConfig(
    small=SmallPolicyConfig(
        hidden=64, layers=2 + 1, heads=2, vocab=512, initializer_range=0.2, tied_embeddings=False, can_copy=False
    ),
    max_context_tokens=1024,
    kv_cache_mib=64,
)
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"


class Bench:
    """A running policy, its files and an independent model of the same weights."""

    def __init__(self, folder: Path, config: PolicyConfig = CONFIG) -> None:
        corpus = [f"<think>find {i}</think> pictures for: the flag of Poland is IMG_{i:03d}" for i in range(50)]
        build_small_policy(folder / "policy", config=config.small, corpus=corpus)
        self.folder = folder / "policy"
        self.publish_sizes()
        self.store = ImageStore(folder / "images")
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.policy = asyncio.run(VllmPolicy.start(self.folder, config=config, store=self.store))

    def publish_sizes(self) -> None:
        """Bounds as in the folders that Qwen publishes: pictures of less than 65,536 pixels would be enlarged."""
        path = self.folder / "preprocessor_config.json"
        said = json.loads(path.read_text())
        path.write_text(json.dumps({**said, "size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}}))

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def picture(self, seed: int, width_px: int = 64, height_px: int = 64) -> ImageRef:
        pixels = np.random.default_rng(seed).integers(0, 255, (height_px, width_px, 3), dtype=np.uint8)
        return self.store.put(Image.fromarray(pixels))

    def model(self, weights: Path | None = None) -> Qwen3VLForConditionalGeneration:
        from transformers import Qwen3VLForConditionalGeneration

        model = Qwen3VLForConditionalGeneration.from_pretrained(self.folder, dtype=torch.float32)
        if weights is not None:
            missing, surplus = model.load_state_dict(load_file(weights), strict=False)
            assert set(missing) <= ({"lm_head.weight"} if model.config.tie_word_embeddings else set())
            assert not surplus
            model.tie_weights()
        return model.eval()

    def recomputed(
        self,
        model: Qwen3VLForConditionalGeneration,
        token_ids: tuple[int, ...],
        images: tuple[ImageRef, ...],
        temperature: float = 1.0,
    ) -> list[float]:
        """Log-probability of each unexpanded token given those before it, from one plain forward pass."""
        whole = self.whole(model, token_ids, images, temperature)
        return [0.0] + [float(whole[place, token_ids[place]]) for place in range(1, len(token_ids))]

    def whole(
        self,
        model: Qwen3VLForConditionalGeneration,
        token_ids: tuple[int, ...],
        images: tuple[ImageRef, ...],
        temperature: float = 1.0,
    ) -> torch.Tensor:
        """[T, V] log-softmax that each unexpanded token was drawn from, without the banned tokens; row 0 is void."""
        from transformers import AutoImageProcessor

        pad = self.tokenizer.token_to_id("<|image_pad|>")
        expanded: list[int] = []
        ends: list[int] = []
        queue = list(images)
        for token in token_ids:
            count = (
                self.policy.context_tokens(Prompt(token_ids=(token,), images=(queue.pop(0),))) if token == pad else 1
            )
            expanded += [token] * count
            ends.append(len(expanded) - 1)
        inputs: dict[str, torch.Tensor] = {}
        if images:
            processor = AutoImageProcessor.from_pretrained(self.folder)
            size = {"shortest_edge": 1024, "longest_edge": 16_777_216}
            features = processor(images=[self.store.get(image) for image in images], size=size, return_tensors="pt")
            inputs = {name: features[name] for name in ("pixel_values", "image_grid_thw")}
        ids = torch.tensor([expanded])
        with torch.no_grad():
            logits = model(input_ids=ids, mm_token_type_ids=(ids == pad).int(), use_cache=False, **inputs).logits[0]
        logits = logits / temperature
        logits[:, list(self.policy.banned_token_ids)] = float("-inf")
        return logits.log_softmax(-1)[torch.tensor(ends) - 1]


def opening(bench: Bench, text: str = "draw the flag of Poland") -> tuple[int, ...]:
    return bench.ids(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")


async def complete(
    bench: Bench,
    ids: tuple[int, ...],
    *images: ImageRef,
    max_tokens: int = 24,
    seed: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int | None = None,
    min_p: float = 0.0,
) -> Completion:
    sampling = Sampling(
        max_tokens=max_tokens, seed=seed, temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p
    )
    return await bench.policy.complete(Prompt(token_ids=ids, images=images), sampling)
