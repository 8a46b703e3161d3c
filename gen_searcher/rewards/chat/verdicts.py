"""The two verdicts as schemas and as values. A reply that is not exactly one of them is no verdict: JudgeInvalid.

Scores are enums, so a server that obeys strict schemas cannot write anything else; a server that does not is caught
here. Nothing is repaired, rounded or filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from gen_searcher.errors import JudgeInvalid
from gen_searcher.rewards.verdict import AESTHETICS, FAITHFULNESS, TEXT_ACCURACY, VISUAL_CORRECTNESS

IMAGE_LEVELS = (0.0, 0.5, 1.0)
TEXT_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


def schema(**properties: Mapping[str, object]) -> dict[str, object]:
    """An object with exactly these keys, written in this order: the reasons come before the scores."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_REASONS: Mapping[str, object] = {"type": "string"}
_LEVEL: Mapping[str, object] = {"type": "number", "enum": [0, 0.5, 1]}
_LEVEL_OR_NONE: Mapping[str, object] = {"type": ["number", "null"], "enum": [0, 0.5, 1, None]}

IMAGE_SCHEMA = schema(
    rationale=_REASONS,
    faithfulness=_LEVEL,
    visual_correctness=_LEVEL,
    text_accuracy=_LEVEL_OR_NONE,
    aesthetics=_LEVEL,
)
"""`text_accuracy` is null where it does not apply: one field, so a flag cannot contradict a score."""
TEXT_SCHEMA = schema(rationale=_REASONS, score={"type": "number", "enum": [0, 0.25, 0.5, 0.75, 1]})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageVerdict:
    """What the picture earned."""

    rationale: str
    parts: Mapping[str, float | None]
    """The four dimensions, each on `IMAGE_LEVELS`; `text_accuracy` may be None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextVerdict:
    """What the grounding earned."""

    rationale: str
    score: float
    """On `TEXT_LEVELS`."""


def _image_level(value: float) -> float:
    if value not in IMAGE_LEVELS:
        raise ValueError(f"must be one of {IMAGE_LEVELS}")
    return value


def _text_level(value: float) -> float:
    if value not in TEXT_LEVELS:
        raise ValueError(f"must be one of {TEXT_LEVELS}")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _ImageWire(_Strict):
    rationale: str
    faithfulness: Annotated[float, AfterValidator(_image_level)]
    visual_correctness: Annotated[float, AfterValidator(_image_level)]
    text_accuracy: Annotated[float, AfterValidator(_image_level)] | None
    aesthetics: Annotated[float, AfterValidator(_image_level)]


class _TextWire(_Strict):
    rationale: str
    score: Annotated[float, AfterValidator(_text_level)]


def read_image_verdict(text: str) -> ImageVerdict:
    """Reply text to verdict. Raises JudgeInvalid."""
    try:
        wire = _ImageWire.model_validate_json(text)
    except ValidationError as error:
        raise JudgeInvalid(complaint(error)) from error
    parts = {
        FAITHFULNESS: wire.faithfulness,
        VISUAL_CORRECTNESS: wire.visual_correctness,
        TEXT_ACCURACY: wire.text_accuracy,
        AESTHETICS: wire.aesthetics,
    }
    return ImageVerdict(rationale=wire.rationale, parts=parts)


def read_text_verdict(text: str) -> TextVerdict:
    """Reply text to verdict. Raises JudgeInvalid."""
    try:
        wire = _TextWire.model_validate_json(text)
    except ValidationError as error:
        raise JudgeInvalid(complaint(error)) from error
    return TextVerdict(rationale=wire.rationale, score=wire.score)


def complaint(error: ValidationError) -> str:
    """The first thing that is wrong with a reply."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the reply"
    return f"no verdict: {where}: {first['msg']}"
