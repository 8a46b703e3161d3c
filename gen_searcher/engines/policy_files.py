"""What a policy's folder says without loading the model: stop and banned tokens, picture sizes, weight names."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from gen_searcher.errors import UserError
from gen_searcher.types import ImageRef

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")
"""A completion ends with one of these. They are the only special tokens that the policy may sample."""
IMAGE_PAD = "<|image_pad|>"
VIDEO_PAD = "<|video_pad|>"
DESCRIPTION_SUFFIXES = frozenset({".json", ".jinja", ".txt"})
"""Of config, tokenizer, image processor and chat template."""


class _AddedToken(BaseModel):
    id: int
    content: str
    special: bool


class _TokenizerFile(BaseModel):
    added_tokens: list[_AddedToken]


class _PixelArea(BaseModel):
    shortest_edge: int
    longest_edge: int


class _PreprocessorFile(BaseModel):
    patch_size: int
    merge_size: int
    size: _PixelArea


class _IndexFile(BaseModel):
    weight_map: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTokens:
    """The special tokens that sampling has to know."""

    stop_ids: tuple[int, ...]
    banned_ids: tuple[int, ...]
    """Special tokens that only we may write: pictures, roles. Sampling gives them no probability, so the learner
    must mask the same logits to find the same log-probabilities."""
    image_pad_id: int
    video_pad_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionGeometry:
    """How many tokens a picture takes."""

    token_px: int
    """Side of the square that becomes one token."""
    min_area_px: int
    max_area_px: int

    def tokens(self, image: ImageRef) -> int:
        """Vision tokens of a picture. ValueError for one that the image processor would resize."""
        width_px, height_px = image.width_px, image.height_px
        area_px = width_px * height_px
        if width_px % self.token_px or height_px % self.token_px:
            raise ValueError(
                f"picture of {width_px}x{height_px} px: both sides must be multiples of {self.token_px} px"
            )
        if not self.min_area_px <= area_px <= self.max_area_px:
            raise ValueError(
                f"picture of {width_px}x{height_px} px: the policy takes {self.min_area_px} to {self.max_area_px} pixels"
            )
        return area_px // self.token_px**2

    def expanded_length(self, token_ids: Sequence[int], images: Sequence[ImageRef]) -> int:
        """Length of a context once every placeholder stands for its picture's tokens."""
        return len(token_ids) + sum(self.tokens(image) - 1 for image in images)


def read_tokens(folder: Path) -> PolicyTokens:
    """Read the special tokens from `tokenizer.json`."""
    text = _read(folder / "tokenizer.json")
    special = {
        token.content: token.id for token in _TokenizerFile.model_validate_json(text).added_tokens if token.special
    }
    missing = [token for token in (*STOP_TOKENS, IMAGE_PAD, VIDEO_PAD) if token not in special]
    if missing:
        raise UserError(f"{folder}/tokenizer.json has no special token {missing[0]}: not a Qwen3-VL tokenizer")
    return PolicyTokens(
        stop_ids=tuple(special[token] for token in STOP_TOKENS),
        banned_ids=tuple(sorted(token_id for token, token_id in special.items() if token not in STOP_TOKENS)),
        image_pad_id=special[IMAGE_PAD],
        video_pad_id=special[VIDEO_PAD],
    )


def read_geometry(folder: Path) -> VisionGeometry:
    """Read the picture sizes from `preprocessor_config.json`."""
    file = _PreprocessorFile.model_validate_json(_read(folder / "preprocessor_config.json"))
    return VisionGeometry(
        token_px=file.patch_size * file.merge_size,
        min_area_px=file.size.shortest_edge,
        max_area_px=file.size.longest_edge,
    )


def checkpoint_names(folder: Path) -> frozenset[str]:
    """Names of all tensors of a Hugging Face folder, sharded or not."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return frozenset(_IndexFile.model_validate_json(_read(index)).weight_map)
    return tensor_names(folder / "model.safetensors")


def tensor_names(path: Path) -> frozenset[str]:
    """Names of all tensors of a safetensors file, from its header alone."""
    with path.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header: Mapping[str, object] = json.loads(file.read(header_bytes))
    return frozenset(header) - {"__metadata__"}


def _read(path: Path) -> str:
    if not path.exists():
        raise UserError(f"{path} is missing: not a complete Hugging Face folder of a Qwen3-VL policy")
    return path.read_text(encoding="utf-8")


def description_files(folder: Path) -> list[Path]:
    """What a policy folder holds beside its weights and their index; `config.json`, which marks it as whole, comes last."""
    files = [file for file in folder.iterdir() if file.suffix in DESCRIPTION_SUFFIXES]
    return sorted(
        (file for file in files if not file.name.endswith(".index.json")), key=lambda file: file.name == "config.json"
    )
