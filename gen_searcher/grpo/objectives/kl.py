"""How far the policy has moved from a reference, token by token, estimated from what the policy sampled."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]


def kl_estimates(logprobs: Tensor, reference_logprobs: Tensor, *, estimator: Estimator) -> Tensor:
    """Estimate KL(policy || reference) from each token alone, with d = logprob - reference_logprob.

        k1 = d,    k2 = d^2 / 2,    k3 = exp(-d) - 1 + d

    http://joschu.net/blog/kl-approx.html. k1 and k3 are unbiased, k2 and k3 never negative. As a loss they differ: the
    gradient of k2 is that of the divergence, k3's agrees while the two policies are close, and k1's is zero on average.

    Args:
        logprobs: [N] carries the gradient.
        reference_logprobs: [N] at the same temperature, over the same tokens.
        estimator: Which.

    Returns:
        [N] in nats.
    """
    difference = logprobs - reference_logprobs
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return difference.square() / 2.0
    return (-difference).exp() - 1.0 + difference
