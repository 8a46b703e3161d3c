"""A Llama of SmolLM2's shape with some ten thousand weights, as a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

Floats = NDArray[np.float32]

LAYERS, HIDDEN, MLP, HEADS, KEY_VALUE_HEADS, HEAD_DIM, POSITIONS = 2, 128, 96, 4, 2, 32, 512
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>")
MERGES = ("f l", "fl a", "fla g", "Ġ flag", "i m")
THETA, EPS = 1e5, 1e-5


def write_gguf(
    path: Path, *, arch: str = "llama", settings: Mapping[str, object], tensors: Mapping[str, NDArray[Any]]
) -> Path:
    """Write a file; a tensor of bytes is taken for blocks of Q8_0."""
    writer = GGUFWriter(path, arch)
    for name, value in settings.items():
        writer.add_key_value(name, value, GGUFValueType.get_type(value))
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor, raw_dtype=GGMLQuantizationType.Q8_0 if tensor.dtype == np.uint8 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def vocabulary() -> list[str]:
    return [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]


@dataclass(frozen=True)
class TinyLlama:
    """Random weights under Hugging Face's names; `write` stores them as llama.cpp does."""

    weights: dict[str, Floats] = field(default_factory=lambda: _weights())

    def write(
        self,
        path: Path,
        *,
        arch: str = "llama",
        changed: Mapping[str, object] | None = None,
        surplus: Sequence[str] = (),
    ) -> Path:
        tokens = vocabulary()
        settings = {
            "llama.block_count": LAYERS,
            "llama.context_length": POSITIONS,
            "llama.embedding_length": HIDDEN,
            "llama.feed_forward_length": MLP,
            "llama.attention.head_count": HEADS,
            "llama.attention.head_count_kv": KEY_VALUE_HEADS,
            "llama.attention.layer_norm_rms_epsilon": EPS,
            "llama.rope.freq_base": THETA,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "smollm",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [3 if token in CONTROL else 1 for token in tokens],
            "tokenizer.ggml.merges": list(MERGES),
        }
        tensors = {their_name(name): _their_order(name, weight) for name, weight in self.weights.items()}
        tensors |= {name: np.zeros((1, 32), np.float32) for name in surplus}
        return write_gguf(path, arch=arch, settings={**settings, **(changed or {})}, tensors=tensors)


def their_name(name: str) -> str:
    """Hugging Face's name -> llama.cpp's."""
    whole_model = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole_model:
        return whole_model[name]
    _, _, layer, *rest, _ = name.split(".")
    parts = {
        "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
        "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    return f"blk.{layer}.{parts[rest[-1]]}.weight"


def _their_order(name: str, weight: Floats) -> Floats:
    """llama.cpp turns neighbouring numbers of a head, Hugging Face the two halves: row by row, on paper."""
    if "q_proj" not in name and "k_proj" not in name:
        return weight
    order: list[int] = []
    for start in range(0, len(weight), HEAD_DIM):
        for pair in range(HEAD_DIM // 2):
            order += [start + pair, start + pair + HEAD_DIM // 2]
    return weight[order]


def _weights() -> dict[str, Floats]:
    rng = np.random.default_rng(0)

    def fresh(*shape: int) -> Floats:
        return rng.normal(scale=0.2, size=shape).astype(np.float32)

    def norm() -> Floats:
        return rng.uniform(0.5, 1.5, HIDDEN).astype(np.float32)

    found = {"model.embed_tokens.weight": fresh(len(vocabulary()), HIDDEN), "model.norm.weight": norm()}
    for layer in range(LAYERS):
        shapes = {
            "self_attn.q_proj": (HEADS * HEAD_DIM, HIDDEN), "self_attn.k_proj": (KEY_VALUE_HEADS * HEAD_DIM, HIDDEN),
            "self_attn.v_proj": (KEY_VALUE_HEADS * HEAD_DIM, HIDDEN), "self_attn.o_proj": (HIDDEN, HEADS * HEAD_DIM),
            "mlp.gate_proj": (MLP, HIDDEN), "mlp.up_proj": (MLP, HIDDEN), "mlp.down_proj": (HIDDEN, MLP),
        }  # fmt: skip
        at = f"model.layers.{layer}."
        found |= {f"{at}{name}.weight": fresh(*shape) for name, shape in shapes.items()}
        found |= {f"{at}{name}.weight": norm() for name in ("input_layernorm", "post_attention_layernorm")}
    return found
