"""A Llama of SmolLM2's shape with some ten thousand weights, and GGUF files written byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

Floats = NDArray[np.float32]

ALIGNMENT = 32
LAYERS, HIDDEN, MLP, HEADS, KEY_VALUE_HEADS, HEAD_DIM, POSITIONS = 2, 128, 96, 4, 2, 32, 512
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>")
MERGES = ("f l", "fl a", "fla g", "Ġ flag", "i m")
THETA, EPS = 1e5, 1e-5


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A tensor as the file holds it."""

    shape: tuple[int, ...]
    """Rows first."""
    kind: int
    data: bytes


def as_f32(values: Floats) -> Stored:
    return Stored(shape=values.shape, kind=0, data=values.astype("<f4").tobytes())


def write_gguf(path: Path, *, settings: Mapping[str, bytes], tensors: Mapping[str, Stored], version: int = 3) -> Path:
    """Write a file; `settings` are values with their kinds in front, as the functions below make them."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(settings))
    head += b"".join(string(name) + value for name, value in settings.items())
    body = b""
    for name, tensor in tensors.items():
        sides = tuple(reversed(tensor.shape))
        head += string(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, tensor.kind, len(body))
        body += tensor.data + bytes(-len(tensor.data) % ALIGNMENT)
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + body)
    return path


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def text(value: str) -> bytes:
    return struct.pack("<I", 8) + string(value)


def whole(value: int) -> bytes:
    return struct.pack("<II", 4, value)


def real(value: float) -> bytes:
    return struct.pack("<If", 6, value)


def texts(values: Sequence[str]) -> bytes:
    return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(string(value) for value in values)


def wholes(values: Sequence[int]) -> bytes:
    return struct.pack("<IIQ", 9, 5, len(values)) + struct.pack(f"<{len(values)}i", *values)


def vocabulary() -> list[str]:
    return [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]


@dataclass(frozen=True)
class TinyLlama:
    """Random weights under Hugging Face's names; `write` stores them as llama.cpp does."""

    weights: dict[str, Floats] = field(default_factory=lambda: _weights())

    def write(self, path: Path, *, changed: Mapping[str, bytes] | None = None, surplus: Sequence[str] = ()) -> Path:
        tokens = vocabulary()
        settings = {
            "general.architecture": text("llama"),
            "llama.block_count": whole(LAYERS),
            "llama.context_length": whole(POSITIONS),
            "llama.embedding_length": whole(HIDDEN),
            "llama.feed_forward_length": whole(MLP),
            "llama.attention.head_count": whole(HEADS),
            "llama.attention.head_count_kv": whole(KEY_VALUE_HEADS),
            "llama.attention.layer_norm_rms_epsilon": real(EPS),
            "llama.rope.freq_base": real(THETA),
            "tokenizer.ggml.model": text("gpt2"),
            "tokenizer.ggml.pre": text("smollm"),
            "tokenizer.ggml.tokens": texts(tokens),
            "tokenizer.ggml.token_type": wholes([3 if token in CONTROL else 1 for token in tokens]),
            "tokenizer.ggml.merges": texts(MERGES),
        }
        tensors = {their_name(name): as_f32(_their_order(name, weight)) for name, weight in self.weights.items()}
        tensors |= {name: as_f32(np.zeros((1, 32), np.float32)) for name in surplus}
        return write_gguf(path, settings={**settings, **(changed or {})}, tensors=tensors)


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
