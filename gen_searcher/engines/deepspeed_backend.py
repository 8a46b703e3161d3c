"""DeepSpeed (ZeRO 1, 2, 3) as a learner's backend."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportPrivateUsage=false
# (deepspeed is not typed)

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.deepspeed_setup import ZeroParameter, make_engine, prepare_deepspeed
from gen_searcher.engines.learner_backend import PREFIX, Kind, Shard, named_trained, whole
from gen_searcher.engines.rank_group import Place
from gen_searcher.grpo.tensors import RowTensors

GATHERED_WEIGHTS = 128_000_000
"""That ZeRO 3 makes whole at a time: half a GB in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Where this rank's share of a parameter lies."""

    group: int
    """Which of the flat tensors holds it."""
    offset: int
    """Where in that tensor it begins."""
    start: int
    """Where in the flattened parameter it begins."""
    count: int


class DeepspeedBackend:
    """One rank's DeepSpeed engine around the policy."""

    def __init__(self, module: nn.Module, *, optim: OptimConfig, place: Place) -> None:
        """`module` is `PackedPolicy` in float32, the same on every rank; the process group exists."""
        prepare_deepspeed(place)
        self._place = place
        self._stage = optim.zero_stage
        self._engine = make_engine(module, optim, device=place.device)
        self._trained = named_trained(self._engine.module)

    def score(self, row: RowTensors, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of each trained token of the row."""
        return self._engine(row, temperature)

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Add to the gradient; with the last row, reduce it over the ranks."""
        self._engine.set_gradient_accumulation_boundary(is_last)
        # DeepSpeed averages over ranks, but each row's loss is already its share of the whole: undo the average.
        self._engine.backward(loss * self._place.world, scale_wrt_gas=False)

    def step(self, *, lr: float) -> float:
        """Clip, update, forget the gradient."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        self._engine.step()
        return float(self._engine.get_global_grad_norm() or 0.0)

    def shards(self, kind: Kind) -> dict[str, Shard]:
        """Views into ZeRO's flat float32 tensors."""
        flats = self._flats()
        state = self._engine.optimizer.optimizer.state
        found: dict[str, Shard] = {}
        for name, parameter in self._trained:
            shape = cast("ZeroParameter", parameter).ds_shape if self._stage == 3 else parameter.shape
            piece = self._piece(cast("ZeroParameter", parameter))
            if piece is None:
                found[name] = Shard(values=torch.zeros(0, device=self._place.device), start=0, shape=shape)
                continue
            flat = flats[piece.group] if kind == "master" else state[flats[piece.group]][kind]
            values = flat.detach().narrow(0, piece.offset, piece.count)
            found[name] = Shard(values=values, start=piece.start, shape=shape)
        return found

    @contextmanager
    def restoring(self, *, updates: int) -> Generator[None]:
        """Make room for the averages; afterwards let the computing weights follow the float32 ones."""
        state = self._engine.optimizer.optimizer.state
        for flat in self._flats():
            state.pop(flat, None)
            if updates:
                state[flat] = {
                    "step": torch.tensor(float(updates), device=flat.device),
                    "exp_avg": torch.zeros_like(flat),
                    "exp_avg_sq": torch.zeros_like(flat),
                }
        yield
        masters = self.shards("master")
        for bucket in _buckets(self._trained):
            with self._gathered(bucket, writing=True), torch.no_grad():
                for name, parameter in bucket:
                    parameter.copy_(whole(masters[name]))

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole weights; under ZeRO 3 some hundred million at a time."""
        named = [(name.removeprefix(PREFIX), p) for name, p in self._engine.module.named_parameters()]
        for bucket in _buckets(named):
            with self._gathered(bucket):
                for name, parameter in bucket:
                    yield name, parameter.detach().clone() if self._stage == 3 else parameter.detach()

    def _flats(self) -> list[Tensor]:
        """The flat float32 tensors that AdamW steps on: this rank's share of all weights."""
        if self._stage == 3:
            return list(self._engine.optimizer.fp32_partitioned_groups_flat)
        return [flat for group in self._engine.optimizer.optimizer.param_groups for flat in group["params"]]

    def _piece(self, parameter: ZeroParameter) -> _Piece | None:
        """None when this rank holds nothing of the parameter."""
        if self._stage < 3:
            mapping = parameter._hp_mapping
            if mapping is None:
                return None
            inside = mapping.hp_fragment_address
            return _Piece(
                group=mapping.param_group_index,
                offset=inside.start,
                start=mapping.lp_fragment_address.start,
                count=inside.numel,
            )
        optimizer = self._engine.optimizer
        group, offset, count = optimizer.grad_position[optimizer.get_param_id(parameter)]
        start = self._place.rank * count
        count = min(count, parameter.ds_numel - start)  # the last ranks' shares are padded
        return _Piece(group=group, offset=offset, start=start, count=count) if count > 0 else None

    @contextmanager
    def _gathered(self, bucket: Sequence[tuple[str, nn.Parameter]], *, writing: bool = False) -> Generator[None]:
        """Under ZeRO 3 a rank holds its shard only; inside this block it sees whole weights."""
        if self._stage < 3:
            yield
            return
        import deepspeed

        with deepspeed.zero.GatheredParameters([p for _, p in bucket], modifier_rank=0 if writing else None):
            yield


def _buckets(named: Sequence[tuple[str, nn.Parameter]]) -> Iterator[list[tuple[str, nn.Parameter]]]:
    """Runs of parameters that may be whole at the same time."""
    bucket: list[tuple[str, nn.Parameter]] = []
    weights = 0
    for name, parameter in named:
        bucket.append((name, parameter))
        weights += getattr(parameter, "ds_numel", parameter.numel())
        if weights >= GATHERED_WEIGHTS:
            yield bucket
            bucket, weights = [], 0
    if bucket:
        yield bucket
