"""What an objective reads and what it says.

Legend: N trained tokens of one row, S sequences of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTokens:
    """The trained tokens of one row. A sequence lies in one row as a whole."""

    logprobs: Tensor
    """[N] under the weights being trained; carries the gradient."""
    old_logprobs: Tensor
    """[N] under the full softmax of the policy that sampled, at the sampling temperature."""
    advantages: Tensor
    """[N] of the token's sequence."""
    segments: Tensor | None = None
    """[N] int64, ascending; which sequence of the row each token belongs to. Only what looks at whole sequences asks."""
    log_kept: Tensor | None = None
    """[N] natural log of the probability mass that top-p, top-k and min-p left when the token was sampled; at most 0.
    The sampler's true log-probability is `old_logprobs - log_kept`. None: nothing was cut off."""
    reference_logprobs: Tensor | None = None
    """[N] under the starting policy; None without a KL term."""
    start_logprobs: Tensor | None = None
    """[N] under the learner's weights at the start of the step. None: the weights have not changed since, so they are
    `logprobs` without its gradient."""

    def start(self) -> Tensor:
        """[N] the learner's log-probabilities at the start of the step."""
        return self.logprobs.detach() if self.start_logprobs is None else self.start_logprobs

    def sequence_ids(self) -> Tensor:
        """[N] `segments`, which must be there."""
        if self.segments is None:
            raise ValueError("this objective looks at whole sequences: give PolicyTokens its segments")
        return self.segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """What an objective makes of each token, before averaging."""

    losses: Tensor
    """[N] with gradient; an objective of sequences gives each token its sequence's loss."""
    ratios: Tensor
    """[N] no gradient; new over old probability of the token, or of its sequence."""
    is_clipped: Tensor
    """[N] bool; the bound decides the value of this token."""


def segment_ids(tokens_of_S: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
    """[N] number of the sequence of each token, for sequences of these lengths. One without tokens keeps its number."""
    lengths = torch.tensor(tokens_of_S, dtype=torch.int64, device=device)
    return torch.repeat_interleave(torch.arange(len(tokens_of_S), device=device), lengths)


def segment_sums(values: Tensor, segments: Tensor) -> Tensor:
    """[S] sum over each sequence of the row; S is the last sequence that has tokens."""
    size = int(segments[-1]) + 1 if segments.numel() else 0
    return values.new_zeros(size).index_add(0, segments, values)


def segment_lengths(values: Tensor, segments: Tensor) -> Tensor:
    """[S] tokens of each sequence, at least 1, in the type of `values`."""
    return segment_sums(torch.ones_like(values), segments).clamp(min=1.0)
