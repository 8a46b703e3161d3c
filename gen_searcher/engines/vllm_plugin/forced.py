"""A scripted policy for tests: the real model runs, but the tokens of a request are given.

`SamplingParams(extra_args={"forced_ids": [...]})`. With `logprobs_mode="raw_logprobs"` the log-probabilities that
come back are the model's own for the forced tokens; the processed ones are all zero.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.sampling_params import SamplingParams

FORCED_KEY = "forced_ids"
FORCED_TOKENS = "gen_searcher.engines.vllm_plugin.forced:ForcedTokens"


class ForcedTokens(LogitsProcessor):
    """Leaves a single token possible while a request's script lasts."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        """`_scripts` maps a row of the batch to the script and to vLLM's live list of output tokens."""
        del vllm_config, device, is_pin_memory
        self._scripts: dict[int, tuple[list[int], list[int]]] = {}

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Anything goes: this is a test aid."""

    def is_argmax_invariant(self) -> bool:
        """Forcing changes what greedy sampling picks."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow requests as they come, go and move between rows."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._scripts.pop(row, None)
        for row, params, _, output_ids in batch_update.added:
            self._scripts.pop(row, None)
            script = (params.extra_args or {}).get(FORCED_KEY)
            if script:
                self._scripts[row] = (script, output_ids)
        for source, target, direction in batch_update.moved:
            moved, replaced = self._scripts.pop(source, None), self._scripts.pop(target, None)
            if moved is not None:
                self._scripts[target] = moved
            if replaced is not None and direction == MoveDirectionality.SWAP:
                self._scripts[source] = replaced

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask every token but the next of the script."""
        for row, (script, written) in self._scripts.items():
            if len(written) < len(script):
                token = script[len(written)]
                kept = logits[row, token].clone()
                logits[row] = float("-inf")
                logits[row, token] = kept
        return logits
