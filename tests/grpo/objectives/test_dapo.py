from __future__ import annotations

import pytest

from gen_searcher.grpo.objectives.dapo import overlong_penalty


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0.0), (16384, 0.0), (18432, -0.5), (19456, -0.75), (20480, -1.0), (99999, -1.0)]
)
def test_the_ramp_of_the_paper(tokens: int, expected: float):
    assert overlong_penalty(tokens, max_response_tokens=20480, penalty=1.0, frac=0.2) == pytest.approx(expected)
