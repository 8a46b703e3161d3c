"""DAPO: GRPO averaged over tokens, with clip-higher, and a reward that falls softly towards the length limit."""

from __future__ import annotations


def overlong_penalty(response_tokens: int, *, max_response_tokens: int, penalty: float, frac: float) -> float:
    """What to add to the reward for the length of a response: 0, or below.

    Equation 13 of https://arxiv.org/abs/2503.14476, with L = max_response_tokens and a buffer B = frac L:

        0  up to L - B,    penalty (L - B - length) / B  up to L,    - penalty beyond

    Args:
        response_tokens: Sampled tokens of the trajectory, over all its turns.
        max_response_tokens: L
        penalty: At L and beyond; 1 in the paper, whose rewards are -1 and 1.
        frac: B as a part of L.
    """
    buffer = frac * max_response_tokens
    over = (response_tokens - (max_response_tokens - buffer)) / buffer
    return -penalty * min(max(over, 0.0), 1.0)
