from __future__ import annotations

from gen_searcher.context import context_tokens, stretch_tokens, vision_tokens
from gen_searcher.types import ImageRef, Turn


def view(width_px: int, height_px: int) -> ImageRef:
    return ImageRef(sha256="0", width_px=width_px, height_px=height_px)


def turn(read: int, said: int, *views: ImageRef) -> Turn:
    return Turn(
        prompt_ids=(1,) * read, completion_ids=(2,) * said, logprobs=(-0.1,) * said, versions=(0,) * said, images=views
    )


def test_a_picture_counts_as_its_vision_tokens() -> None:
    assert vision_tokens(view(64, 64)) == 4
    assert vision_tokens(view(384, 256)) == 96
    assert stretch_tokens(10, [view(64, 64), view(96, 32)]) == 10 + 3 + 2


def test_a_context_is_all_that_was_read_and_said() -> None:
    assert context_tokens([]) == 0
    assert context_tokens([turn(10, 5), turn(7, 2, view(384, 256), view(64, 64))]) == 10 + 5 + 7 + 95 + 3 + 2
