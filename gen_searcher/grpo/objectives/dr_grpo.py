"""Dr. GRPO: GRPO without its two biases. Advantages are only centred, and token losses are divided by a constant."""

from __future__ import annotations


def constant_denominator(*, samples: int, max_response_tokens: int) -> int:
    """What summed token losses are divided by: sequences times the longest response that is allowed.

    The divisor does not depend on how long the responses came out, so a wrong answer is not punished less for being long.
    Section 3.1 of https://arxiv.org/abs/2503.20783.

    Args:
        samples: Sequences of the step, over every row and rank.
        max_response_tokens: The same number in every step of a run.
    """
    return samples * max_response_tokens
