"""What top-p, top-k and min-p leave of the softmax: logits -> full log-probability and `log_kept` of each sampled token.

vLLM reports either the model's log-probability before temperature and bans, or the one after the filters, scaled up
over the tokens that survived. The learner computes neither: it has the temperature and the bans, and no filters. So
the sampler here reports the log-probability of the whole softmax at the sampling temperature, and in a second column

    log_kept = ln (sum of the whole softmax over the tokens that survived),    <= 0, and 0 where nothing was cut.

The token was then drawn with log-probability `logprob - log_kept`. Both come from the logits that are there anyway.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor
from vllm.v1.outputs import LogprobsTensors, SamplerOutput
from vllm.v1.sample.sampler import Sampler

if TYPE_CHECKING:
    from vllm.config.model import LogprobsMode
    from vllm.v1.sample.metadata import SamplingMetadata

KEPT_ID = -1
"""Stands where a token id would: the entry under it is no token's log-probability but `log_kept` of the sampled one."""
KEPT_WORKER = "gen_searcher.engines.vllm_plugin.kept_mass.KeptMassWorker"
GREEDY_BELOW = 1e-5
"""vLLM takes lower temperatures for zero; their log-probabilities are those of temperature 1."""


class KeptMassSampler(Sampler):
    """vLLM's sampler with other numbers beside the same tokens. Needs `logprobs_mode="processed_logprobs"`."""

    _log_kept: Tensor | None = None
    """[requests, 1] of the step under way: `sample` hands it to `forward`."""

    def forward(
        self,
        logits: Tensor,
        sampling_metadata: SamplingMetadata,
        predict_bonus_token: bool = False,
        logprobs_mode_override: LogprobsMode | None = None,
    ) -> SamplerOutput:
        """Sample one token per row of `logits` [requests, vocabulary]; the column after its log-probability is ours."""
        self._log_kept = None
        output = super().forward(logits, sampling_metadata, predict_bonus_token, logprobs_mode_override)
        log_kept, self._log_kept = self._log_kept, None
        if log_kept is not None and output.logprobs_tensors is not None and sampling_metadata.max_num_logprobs != -1:
            output.logprobs_tensors = _with_second_column(output.logprobs_tensors, log_kept)
        return output

    def sample(
        self,
        logits: Tensor,
        sampling_metadata: SamplingMetadata,
        logprobs_mode_override: LogprobsMode | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Sample as vLLM does; the log-probabilities are those before the filters. `logits` is overwritten.

        The filters only ever set logits to minus infinity, so the two log-probabilities of a survivor differ by
        exactly the logarithm of the surviving mass, whichever filters ran.
        """
        whole = _at_temperature(logits, sampling_metadata).log_softmax(dim=-1, dtype=torch.float32)
        sampled, scaled_up = super().sample(logits, sampling_metadata, logprobs_mode_override)
        if scaled_up is None:
            return sampled, None
        chosen = sampled.long().unsqueeze(-1)
        self._log_kept = (whole.gather(-1, chosen) - scaled_up.gather(-1, chosen)).clamp_(max=0.0)
        return sampled, whole


def _at_temperature(logits: Tensor, metadata: SamplingMetadata) -> Tensor:
    """The logits that vLLM is about to filter, as a copy of their own where they differ."""
    if metadata.all_greedy or metadata.temperature is None:
        return logits
    temperature = torch.where(metadata.temperature < GREEDY_BELOW, 1.0, metadata.temperature)
    return logits / temperature.unsqueeze(-1)


def _with_second_column(found: LogprobsTensors, log_kept: Tensor) -> LogprobsTensors:
    ids, logprobs = found.logprob_token_ids, found.logprobs
    kept_ids = torch.full_like(ids[:, :1], KEPT_ID)
    return found._replace(
        logprob_token_ids=torch.cat([ids[:, :1], kept_ids, ids[:, 1:]], dim=1),
        logprobs=torch.cat([logprobs[:, :1], log_kept, logprobs[:, 1:]], dim=1),
    )


class _Runner(Protocol):
    """The part of vLLM's model runner that is touched here."""

    sampler: Sampler


class KeptMassWorker:
    """Mixed into vLLM's worker (`worker_extension_cls`); the engines call it once, before the first request."""

    model_runner: _Runner

    def record_kept_mass(self) -> None:
        """Put our sampler in the place of vLLM's. Raises TypeError for a model runner that samples another way."""
        found = self.model_runner.sampler
        if type(found) is not Sampler:
            raise TypeError(f"the model runner samples with {type(found)}; log_kept is known for {Sampler} only")
        self.model_runner.sampler = KeptMassSampler(cast("LogprobsMode", found.logprobs_mode), found.use_fp64_gumbel)
