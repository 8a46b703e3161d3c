from __future__ import annotations

import pytest

from gen_searcher.grpo.select import has_signal
from tests.grpo.groups import group


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [((), False), ((1.0,), False), ((0.5, 0.5), False), ((0.0, 0.0, 0.25), True), ((0.3, 0.1 + 0.2), False)],
)
def test_only_different_rewards_teach(rewards: tuple[float, ...], expected: bool):
    assert has_signal(group(*rewards)) is expected


def test_a_lost_attempt_is_not_a_different_reward():
    assert not has_signal(group(1.0, 1.0, lost=3))
