"""How long the policy's context is: turns -> tokens. Budgets and metrics count alike.

A token here is a token that the policy reads: a picture counts as its vision tokens, not as its one placeholder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gen_searcher.types import ImageRef, Turn

VISION_PATCH_PX = 32
"""A vision token of Qwen3-VL covers 32 x 32 px (patches of 16, merged two by two)."""


def vision_tokens(view: ImageRef) -> int:
    """How many tokens the policy sees for one picture."""
    return (view.width_px // VISION_PATCH_PX) * (view.height_px // VISION_PATCH_PX)


def stretch_tokens(token_count: int, views: Sequence[ImageRef]) -> int:
    """The length of a stretch of context: its tokens, with each placeholder counted as its vision tokens."""
    return token_count + sum(vision_tokens(view) - 1 for view in views)


def context_tokens(turns: Sequence[Turn]) -> int:
    """Length of the context after these turns, each placeholder counted as its vision tokens."""
    read = sum(stretch_tokens(len(turn.prompt_ids), turn.images) for turn in turns)
    return read + sum(len(turn.completion_ids) for turn in turns)
