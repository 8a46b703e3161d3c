"""The packed forward pass of Qwen3-VL and Qwen2.5-VL: RowTensors -> TokenScores, with pixels, without leaks between samples."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers and torch.nn modules are only partly typed)

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gen_searcher.engines.policy_files import check_policy
from gen_searcher.engines.qwen_models import MODELS, Qwen3VLForConditionalGeneration, QwenModel
from gen_searcher.engines.segments import ATTENTION
from gen_searcher.engines.vision import TrainedVision, Vision
from gen_searcher.errors import UserError
from gen_searcher.grpo.logprobs import token_scores
from gen_searcher.grpo.tensors import RowTensors

__all__ = ["PackedPolicy", "Qwen3VLForConditionalGeneration", "load_qwen"]


def load_qwen(path: Path, *, dtype: torch.dtype, gradient_checkpointing: bool = False) -> QwenModel:
    """Read a Hugging Face folder of a policy for training; no code and no pickle that lies in it is run.

    Raises:
        UserError: It is another model, or its weights do not fit its `config.json`.
    """
    kind = MODELS[check_policy(path)]
    try:
        loaded: object = kind.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation={"text_config": ATTENTION, "vision_config": "sdpa"},
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: its weights do not fit its config.json: {error}") from error
    model, found = cast("tuple[QwenModel, Mapping[str, Iterable[str]]]", loaded)
    odd = sorted(found["missing_keys"])
    if odd:  # transformers would draw them at random
        raise UserError(f"{path}: the weights of {len(odd)} parameters are missing, e.g. {odd[0]}")
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    return model


class PackedPolicy(nn.Module):
    """The module that DeepSpeed wraps: its forward pass ends at log-probabilities, so hidden states never leave it."""

    def __init__(
        self,
        model: QwenModel,
        *,
        banned_ids: tuple[int, ...],
        chunk_tokens: int,
        vision: Vision | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: What is trained.
            banned_ids: Tokens that the sampler may never emit.
            chunk_tokens: Tokens whose vocabulary logits exist at a time.
            vision: Where picture features come from; None for the model's own tower, with a gradient.
        """
        super().__init__()
        self.model = model
        self.chunk_tokens = chunk_tokens
        self.vision = vision or TrainedVision(model)
        self.banned = nn.Buffer(torch.tensor(banned_ids), persistent=False) if banned_ids else None

    def forward(self, row: RowTensors, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of each trained token of the row, [N] each."""
        boundaries = row.cu_seqlens
        hidden = self.model.model(
            input_ids=row.input_ids[None],
            position_ids=row.positions[:, None],
            mm_encoder_outputs={"image": self.vision(row)},
            use_cache=False,
            cu_seq_lens_q=boundaries,
            cu_seq_lens_k=boundaries,
            max_length_q=row.longest,
            max_length_k=row.longest,
        ).last_hidden_state[0]
        scores = token_scores(
            hidden[row.predictors],
            self.model.lm_head.weight,
            row.targets,
            temperature=temperature,
            banned=self.banned,
            chunk_tokens=self.chunk_tokens,
        )
        return scores.logprobs, scores.entropies
