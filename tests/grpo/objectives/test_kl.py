from __future__ import annotations

import pytest
import torch

from gen_searcher.grpo.objectives.kl import Estimator, kl_estimates

POLICY = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
REFERENCE = torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64)
EXACT = 0.5 * 0.22314355131420976 + 0.3 * -0.2876820724517809
"""KL(policy || reference) = 0.5 ln(5/4) + 0.3 ln(3/4)."""


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_two_of_them_are_the_divergence_on_average(estimator: Estimator):
    estimates = kl_estimates(POLICY.log(), REFERENCE.log(), estimator=estimator)
    assert float((POLICY * estimates).sum()) == pytest.approx(EXACT, rel=1e-12)


def test_the_second_is_half_the_square():
    estimates = kl_estimates(POLICY.log(), REFERENCE.log(), estimator="k2")
    assert estimates.tolist() == pytest.approx([0.5 * 0.22314355131420976**2, 0.5 * 0.2876820724517809**2, 0.0])


@pytest.mark.parametrize(("estimator", "is_right"), [("k1", False), ("k2", True)])
def test_as_a_loss_k2_has_the_gradient_of_the_divergence_and_k1_none_on_average(estimator: Estimator, is_right: bool):
    logits = POLICY.log().requires_grad_()
    logprobs = logits.log_softmax(-1)
    term = (POLICY * kl_estimates(logprobs, REFERENCE.log(), estimator=estimator)).sum()
    divergence = (logprobs.exp() * (logprobs - REFERENCE.log())).sum()
    (found,) = torch.autograd.grad(term, logits, retain_graph=True)
    (exact,) = torch.autograd.grad(divergence, logits)
    assert exact.abs().max() > 0.05
    assert (found - (exact if is_right else 0.0)).abs().max() < 1e-12
