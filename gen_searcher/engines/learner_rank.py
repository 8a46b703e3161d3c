"""One rank of the learner: rows -> loss -> gradient over all ranks -> AdamW step.

RowTensors -> PackedPolicy -> row_loss | sft_loss -> backend (DeepSpeed or FSDP2) -> StepReport
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (deepspeed is not typed)

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from gen_searcher.config.objective import DEFAULT_OBJECTIVE, ObjectiveConfig
from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines import learner_checkpoint
from gen_searcher.engines.arithmetic import arithmetic
from gen_searcher.engines.backends import make_backend
from gen_searcher.engines.lora import add_adapters
from gen_searcher.engines.policy_export import save_weights
from gen_searcher.engines.qwen_forward import PackedPolicy, load_qwen
from gen_searcher.engines.rank_group import Place, join_group
from gen_searcher.engines.reference import ReferencePolicy
from gen_searcher.engines.vision import FrozenVision, freeze
from gen_searcher.grpo.loss import row_loss, step_denominator
from gen_searcher.grpo.objectives.tokens import PolicyTokens, segment_ids
from gen_searcher.grpo.pack import Row
from gen_searcher.grpo.sft_loss import sft_loss
from gen_searcher.grpo.tensors import Pixels, RowTensors, image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from gen_searcher.points import Point, passed
from gen_searcher.types import ImageRef, StepReport

Mode = Literal["grpo", "sft"]

RATIO_METRICS = frozenset(
    f"learner/{name}"
    for name in (
        "clipped_low_frac",
        "clipped_high_frac",
        "kl_nats",
        "mismatch_nats",
        "ratio_max",
        "logprob_gap_max_nats",
        "reference_kl_nats",
        "weight_mean",
        "weight_bound_frac",
    )
)
"""What only GRPO can report: the learner's probabilities against the sampler's."""
CACHED_PICTURES = 512
"""Pictures whose patches stay in memory: 0.4 MB each at 128 x 128 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowOutcome:
    """A row's share of the step's loss, and what to report of it."""

    loss: Tensor
    sums: Tensor
    """[8] over the row's tokens: entropy, clipped low, clipped high, KL, mismatch, reference KL, weight, bound weight."""
    maxima: Tensor
    """[2] over the row's tokens: ratio, mismatch."""


class LearnerRank:
    """The learner's share of one process. All ranks must call the same methods in the same order."""

    def __init__(
        self,
        model_path: Path,
        *,
        optim: OptimConfig,
        objective: ObjectiveConfig = DEFAULT_OBJECTIVE,
        store: ImageStore,
        place: Place | None = None,
        temperature: float = 1.0,
        banned_ids: tuple[int, ...] = (),
    ) -> None:
        """Load the policy and meet the other ranks.

        Args:
            model_path: Hugging Face folder of a Qwen3-VL model.
            optim: Step size, clipping, ZeRO stage and the like.
            objective: What reinforcement learning optimises; imitation does not read it.
            store: Where the pictures of samples lie.
            place: This rank among its peers; None for a learner of one.
            temperature: At which the policy is sampled. Imitation always learns at 1.
            banned_ids: Tokens that the sampler may never emit.
        """
        self.place = place or Place()
        self.optim = optim
        self.objective = objective
        self.model_path = model_path
        self.steps_done = 0
        self._temperature = temperature
        join_group(self.place, threads=optim.threads)
        model = load_qwen(model_path, dtype=torch.float32, gradient_checkpointing=optim.gradient_checkpointing)
        self._image_token_id = int(model.config.image_token_id)

        def pixels(ref: ImageRef) -> Tensor:
            return image_patches(store.get(ref))

        freeze(model, optim.freeze)
        if optim.lora is not None:
            add_adapters(model, optim.lora)
        self._frozen_vision: FrozenVision | None = None
        self._pixels: Pixels | None = lru_cache(CACHED_PICTURES)(pixels)
        if optim.has_frozen_tower:
            dtype = torch.bfloat16 if optim.dtype == "bfloat16" else torch.float32
            self._pixels = None
            self._frozen_vision = FrozenVision.take_from(
                model, dtype=dtype, pixels=pixels, limit_mib=optim.feature_cache_mib, device=self.place.device
            )
        self._reference = (
            ReferencePolicy(
                model_path, optim=optim, device=self.place.device, banned_ids=banned_ids, vision=self._frozen_vision
            )
            if objective.kl.coefficient
            else None
        )
        self._policy = PackedPolicy(
            model, banned_ids=banned_ids, chunk_tokens=optim.chunk_tokens, vision=self._frozen_vision
        )
        self._backend = make_backend(self._policy, optim=optim, place=self.place)
        self._arithmetic = arithmetic(device=self.place.device, threads=optim.threads, ranks=self.place.world)
        _give_back_unused()

    def step(self, rows: Sequence[Row], *, trained_tokens: int, samples: int, mode: Mode = "grpo") -> StepReport:
        """One optimizer step over this rank's rows and everybody else's.

        Args:
            rows: This rank's rows from `split_rows`; every rank has equally many.
            trained_tokens: Of the batch, over all ranks.
            samples: Of the batch, over all ranks.
            mode: Which loss.
        """
        started = time.perf_counter()
        score_row = self._grpo_row if mode == "grpo" else self._sft_row
        denominator = (
            step_denominator(self.objective, trained_tokens=trained_tokens, samples=samples)
            if mode == "grpo"
            else trained_tokens
        )
        outcomes: list[_RowOutcome] = []
        tokens = 0
        for number, row in enumerate(rows, start=1):
            tensors = self._tensors(row)
            tokens += len(tensors.input_ids)
            outcome = score_row(tensors, denominator)
            self._backend.backward(outcome.loss, is_last=number == len(rows))
            outcomes.append(replace(outcome, loss=outcome.loss.detach()))
        passed(Point.LEARNER_BACKWARD)
        lr = self.optim.lr_at(self.steps_done)
        grad_norm = self._backend.step(lr=lr)
        self.steps_done += 1
        passed(Point.LEARNER_STEPPED)
        report = self._report(
            outcomes, lr=lr, grad_norm=grad_norm, tokens=tokens, trained_tokens=trained_tokens, started=started
        )
        return report if mode == "grpo" else _without_ratios(report)

    def logprobs(self, rows: Sequence[Row]) -> list[tuple[float, ...]]:
        """Log-probabilities of the trained tokens of each sample, in the order of the rows. No gradient."""
        found: list[tuple[float, ...]] = []
        self._policy.eval()
        with torch.no_grad():
            for row in rows:
                tensors = self._tensors(row)
                scored, _ = self._backend.score(tensors, self._temperature)
                parts = scored.split(tensors.trained_of_sample)
                found += [tuple(part.tolist()) for part in parts[: len(row)]]
        self._policy.train()
        return found

    def export(self, path: Path) -> None:
        """Write the weights as one safetensors file under the names that Hugging Face and vLLM read.

        Rank 0 writes; the file appears under its name only when it is whole.
        """
        apart = () if self._frozen_vision is None else self._frozen_vision.weights()
        save_weights(chain(self._backend.weights(), apart), path, rank=self.place.rank, lora=self.optim.lora)
        _give_back_unused()

    def save(self, folder: Path) -> None:
        """Write a checkpoint: masters and averages, sharded; it appears under its name only when it is whole."""
        learner_checkpoint.save(
            self._backend,
            folder,
            place=self.place,
            optim=self.optim,
            base=self.model_path,
            steps_done=self.steps_done,
        )

    def load(self, folder: Path) -> None:
        """Go on from `save`, on any number of ranks: the next step is the one that would have come."""
        self.steps_done = learner_checkpoint.load(self._backend, folder)

    def _tensors(self, row: Row) -> RowTensors:
        tensors = row_tensors(row, image_token_id=self._image_token_id, pixels=self._pixels)
        return tensors if self.place.device == "cpu" else to_device(tensors, self.place.device)

    def _grpo_row(self, row: RowTensors, denominator: int) -> _RowOutcome:
        logprobs, entropies = self._backend.score(row, self._temperature)
        tokens = PolicyTokens(
            logprobs=logprobs,
            old_logprobs=row.old_logprobs,
            advantages=row.advantages,
            segments=segment_ids(row.trained_of_sample, device=logprobs.device),
            log_kept=row.log_kept,
            reference_logprobs=self._reference.logprobs(row, self._temperature) if self._reference else None,
        )
        result = row_loss(tokens, objective=self.objective, denominator=denominator)
        sums = [entropies.sum(), result.clipped_low, result.clipped_high, result.kl_sum_nats, result.mismatch_sum_nats]
        sums += [result.reference_kl_sum_nats, result.weight_sum, result.weight_bound]
        return _RowOutcome(
            loss=result.loss,
            sums=torch.stack([value.double() for value in sums]),
            maxima=torch.stack([result.ratio_max, result.mismatch_max_nats]).double(),
        )

    def _sft_row(self, row: RowTensors, denominator: int) -> _RowOutcome:
        logprobs, entropies = self._backend.score(row, 1.0)
        sums = torch.zeros(8, dtype=torch.float64, device=logprobs.device)
        sums[0] = entropies.sum()
        return _RowOutcome(
            loss=sft_loss(logprobs, trained_tokens=denominator), sums=sums, maxima=torch.zeros_like(sums[:2])
        )

    def _report(
        self,
        outcomes: Sequence[_RowOutcome],
        *,
        lr: float,
        grad_norm: float,
        tokens: int,
        trained_tokens: int,
        started: float,
    ) -> StepReport:
        """Sum the ranks' shares; the same report on every rank, but for rank 0's clock."""
        loss_and_tokens = (
            torch.stack([outcome.loss.double() for outcome in outcomes]).sum(),
            torch.tensor(float(tokens)),
        )
        totals = torch.stack([outcome.sums for outcome in outcomes]).sum(0)
        totals = torch.cat([totals, torch.stack([value.to(totals) for value in loss_and_tokens])])
        maxima = torch.stack([outcome.maxima for outcome in outcomes]).amax(0)
        if self.place.world > 1:
            dist.all_reduce(totals)
            dist.all_reduce(maxima, op=dist.ReduceOp.MAX)
        entropy, low, high, kl, mismatch, reference_kl, weight, bound, loss, all_tokens = totals.tolist()
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            raise FloatingPointError(
                f"step {self.steps_done}: loss {loss}, gradient norm {grad_norm}; weights are lost"
            )
        wall_s = time.perf_counter() - started
        return StepReport(
            loss=loss,
            grad_norm=grad_norm,
            arithmetic=self._arithmetic,
            metrics={
                "learner/lr": lr,
                "learner/entropy_nats": entropy / trained_tokens,
                "learner/clipped_low_frac": low / trained_tokens,
                "learner/clipped_high_frac": high / trained_tokens,
                "learner/kl_nats": kl / trained_tokens,
                "learner/mismatch_nats": mismatch / trained_tokens,
                "learner/weight_mean": weight / trained_tokens,
                "learner/weight_bound_frac": bound / trained_tokens,
                "learner/ratio_max": float(maxima[0]),
                "learner/logprob_gap_max_nats": float(maxima[1]),
                "learner/trained_tokens": float(trained_tokens),
                "learner/tokens": all_tokens,
                "learner/tokens_per_s": all_tokens / wall_s,
                "learner/step_s": wall_s,
                **({"learner/reference_kl_nats": reference_kl / trained_tokens} if self._reference else {}),
            },
        )


def _give_back_unused() -> None:
    """Free what PyTorch keeps of the GPU's memory for its next tensors; nothing to do on a CPU.

    An engine on the same GPU (`cluster=colocated`) demands its whole share free when it starts, and it may start again
    whenever it dies. What a step's peak left behind would be in its way, though nothing is in it between two steps.
    """
    torch.cuda.empty_cache()


def _without_ratios(report: StepReport) -> StepReport:
    """Imitation has no sampler to compare with."""
    return replace(report, metrics={name: value for name, value in report.metrics.items() if name not in RATIO_METRICS})


def to_device(row: RowTensors, device: str) -> RowTensors:
    """The row where it is computed."""
    return replace(
        row,
        input_ids=row.input_ids.to(device),
        positions=row.positions.to(device),
        cu_seqlens=row.cu_seqlens.to(device),
        patches=row.patches.to(device),
        grids=row.grids.to(device),
        predictors=row.predictors.to(device),
        targets=row.targets.to(device),
        old_logprobs=row.old_logprobs.to(device),
        log_kept=row.log_kept.to(device),
        advantages=row.advantages.to(device),
    )
