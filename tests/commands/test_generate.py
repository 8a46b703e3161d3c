"""Without a picture the command says why and ends with a code that schedulers can read."""

from __future__ import annotations

import pytest

from gen_searcher.commands.generate import no_picture
from gen_searcher.errors import GeneratorRefused, GeneratorUnavailable, WorldError


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (GeneratorRefused("a weapon"), 2, "declined the grounding (a weapon); word the request anew"),
        (GeneratorUnavailable("no answer in 60 s"), 3, "the image model failed (no answer in 60 s)"),
        (WorldError("the actor died", "actor"), 3, "the image model failed (the actor died)"),
    ],
)
def test_a_declined_grounding_is_the_requests_fault_and_a_failure_is_not(
    error: WorldError, code: int, words: str
) -> None:
    told = no_picture(error)
    assert told.exit_code == code
    assert str(told) == f"no picture: {'the image model ' if code == 2 else ''}{words}"
