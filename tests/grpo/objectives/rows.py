"""Hand-made sequences as the tensors of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.grpo.objectives.tokens import PolicyTokens, segment_ids
from tests.grpo.objectives.by_hand import HandObjective, HandSequence


def plain(sequences: Sequence[HandSequence]) -> list[HandSequence]:
    """Without a cut by the sampler, without a reference, all within the step's first update."""
    return [replace(sequence, log_kept=[], reference=[], start=[]) for sequence in sequences]


def row_of(sequences: Sequence[HandSequence], dtype: torch.dtype = torch.float64) -> PolicyTokens:
    def column(values: Sequence[Sequence[float]]) -> torch.Tensor:
        return torch.tensor([value for part in values for value in part], dtype=dtype)

    first = sequences[0]
    return PolicyTokens(
        logprobs=column([s.logprobs for s in sequences]).requires_grad_(),
        old_logprobs=column([s.old for s in sequences]),
        advantages=column([[s.advantage] * len(s.old) for s in sequences]),
        segments=segment_ids([len(s.old) for s in sequences]),
        log_kept=column([s.log_kept for s in sequences]) if first.log_kept else None,
        reference_logprobs=column([s.reference for s in sequences]) if first.reference else None,
        start_logprobs=column([s.start for s in sequences]) if first.start else None,
    )


def config_of(name: str, hand: HandObjective) -> ObjectiveConfig:
    """Only what the hand says beyond the published combination is set; the rest must come from the preset."""
    said: dict[str, object] = {"name": name, "aggregation": hand.average}
    if hand.longest:
        said["max_response_tokens"] = hand.longest
    if hand.kl:
        said["kl"] = {"estimator": hand.kl, "coefficient": hand.kl_coefficient}
    if hand.correction:
        mode, level = hand.correction.split("-")
        said["correction"] = {"mode": mode, "level": level, "cap": hand.cap}
    return ObjectiveConfig.model_validate(said)
