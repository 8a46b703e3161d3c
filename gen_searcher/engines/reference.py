"""The policy that training started from, frozen: RowTensors -> reference log-probabilities."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers is only partly typed)

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.qwen_forward import PackedPolicy, load_qwen
from gen_searcher.engines.vision import Vision
from gen_searcher.grpo.tensors import RowTensors


class ReferencePolicy:
    """Whole weights in every rank, in the learner's type: its passes need no collective."""

    def __init__(
        self,
        folder: Path,
        *,
        optim: OptimConfig,
        device: str,
        banned_ids: tuple[int, ...],
        vision: Vision | None = None,
    ) -> None:
        """Read the policy of a Hugging Face folder.

        Args:
            folder: What training started from, also when it resumes.
            optim: Type of the weights, and tokens whose logits exist at a time.
            device: `cpu` or `cuda`.
            banned_ids: Tokens that the sampler may never emit.
            vision: The learner's own tower when it stands still: what it sees has not changed; None for another one.
        """
        model = load_qwen(folder, dtype=torch.bfloat16 if optim.dtype == "bfloat16" else torch.float32)
        if vision is not None:
            del model.model.visual  # the learner's stands in for it
        self._policy = PackedPolicy(model, banned_ids=banned_ids, chunk_tokens=optim.chunk_tokens, vision=vision).to(
            device
        )
        self._policy.eval().requires_grad_(False)

    @torch.no_grad()
    def logprobs(self, row: RowTensors, temperature: float) -> Tensor:
        """[N] of the row's trained tokens. Must see the row as the learner does."""
        logprobs, _ = self._policy(row, temperature)
        return logprobs
