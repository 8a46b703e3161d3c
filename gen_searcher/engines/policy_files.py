"""What a policy's folder says without loading the model: stop and banned tokens, picture sizes, weight names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from gen_searcher.errors import UserError
from gen_searcher.types import ImageRef

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")
"""A completion ends with one of these. They are the only special tokens that the policy may sample."""
IMAGE_PAD = "<|image_pad|>"
VIDEO_PAD = "<|video_pad|>"
ARCHITECTURES = ("Qwen3VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration")
"""What a policy may be."""
PRETRAINED_ARCHITECTURE = ARCHITECTURES[1]
"""What a language model becomes that is given eyes, see `pretrained_policy`."""
TOKEN_PX = 32
"""Side of the square that must become one token: views are cut to multiples of it before anybody knows the policy."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
"""Weights that run code of their author when they are read; nothing here reads them."""
MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors file: the format's own limit."""
INDEX = "model.safetensors.index.json"
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


class _VisionPart(BaseModel):
    patch_size: int = 16
    spatial_merge_size: int = 2


class _ConfigFile(BaseModel):
    architectures: list[str] = []
    vision_config: _VisionPart = _VisionPart()


_HEADER = TypeAdapter(dict[str, object])


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


def check_policy(folder: Path) -> str:
    """Look at a stranger's folder before anything is loaded from it; its architecture, one of `ARCHITECTURES`.

    Raises:
        UserError: It is no policy that can be trained, or its weights are no whole safetensors files that lie in it.
    """
    architecture = read_architecture(folder)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
        hint = f": {pickles[0]} may hold a pickle, which is never read; convert it" if pickles else ""
        raise UserError(f"{folder} holds no safetensors file{hint}")
    for path in weights:
        tensor_names(path)
    outside = sorted(set(_weight_map(folder).values()) - {path.name for path in weights})
    if outside:
        raise UserError(f"{folder / INDEX} names {outside[0]!r}, which is no weight file of this folder")
    return architecture


def read_architecture(folder: Path) -> str:
    """Which of `ARCHITECTURES` a policy is, by its `config.json`.

    Raises:
        UserError: None of them, or its vision tokens do not cover `TOKEN_PX`.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise UserError(f"{folder}: no config.json; a policy is a Hugging Face folder of a Qwen3-VL model")
    try:
        found = _ConfigFile.model_validate_json(config.read_bytes())
    except ValidationError as error:
        raise UserError(f"{config} cannot be read: {error.errors(include_url=False)[0]['msg']}") from error
    known = [name for name in found.architectures if name in ARCHITECTURES]
    if not known:
        raise UserError(
            f"{config}: architectures is {found.architectures}; a policy must be a {' or a '.join(ARCHITECTURES)}"
        )
    token_px = found.vision_config.patch_size * found.vision_config.spatial_merge_size
    if token_px != TOKEN_PX:
        raise UserError(f"{config}: a vision token covers {token_px} x {token_px} px; pictures are cut for {TOKEN_PX}")
    return known[0]


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
    """Read the picture sizes from `preprocessor_config.json`; any picture of a token or more is taken as it is.

    The file's own least area is not asked: the engine is told another one (`vllm_request`), and learners resize nothing.
    """
    file = _PreprocessorFile.model_validate_json(_read(folder / "preprocessor_config.json"))
    token_px = file.patch_size * file.merge_size
    return VisionGeometry(
        token_px=token_px,
        min_area_px=token_px**2,
        max_area_px=file.size.longest_edge,
    )


TIED_HEAD = "lm_head.weight"


def checkpoint_names(folder: Path) -> frozenset[str]:
    """Names of all tensors of a Hugging Face folder, sharded or not.

    An output head that is tied to the input embedding is left out: some folders hold its copy, a learner never writes one.
    """
    names = frozenset(_weight_map(folder)) if (folder / INDEX).exists() else tensor_names(folder / "model.safetensors")
    config = cast("dict[str, object]", json.loads(_read(folder / "config.json")))
    return names - {TIED_HEAD} if config.get("tie_word_embeddings") is True else names


def _weight_map(folder: Path) -> Mapping[str, str]:
    """Tensor -> file; empty without an index."""
    index = folder / INDEX
    if not index.exists():
        return {}
    try:
        return _IndexFile.model_validate_json(index.read_bytes()).weight_map
    except ValidationError as error:
        raise UserError(f"{index} cannot be read: {error.errors(include_url=False)[0]['msg']}") from error


def tensor_names(path: Path) -> frozenset[str]:
    """Names of all tensors of a safetensors file, from its header alone.

    Raises:
        UserError: It has no header, or one that claims to be longer than the file.
    """
    with path.open("rb") as file:
        head = file.read(8)
        claimed = int.from_bytes(head, "little")
        left = path.stat().st_size - len(head)
        if len(head) < 8 or claimed > min(left, MAX_HEADER_BYTES):
            raise UserError(
                f"{path} is no whole safetensors file: its header claims {claimed} bytes, {left} follow and "
                f"{MAX_HEADER_BYTES} are the most there can be"
            )
        try:
            header = _HEADER.validate_json(file.read(claimed))
        except ValidationError as error:
            raise UserError(f"{path} is no safetensors file: its header is no JSON object") from error
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
