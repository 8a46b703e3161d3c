"""PyTorch's own sharding (FSDP2, `fully_shard`) as a learner's backend: weights, gradients and states, as ZeRO 3."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch.distributed is only partly typed)

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor

from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.learner_backend import PREFIX, Kind, Shard, make_optimizer, named_trained
from gen_searcher.engines.rank_group import Place
from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision
from gen_searcher.grpo.tensors import RowTensors

ensure_torchvision()
from transformers import GradientCheckpointingLayer  # noqa: E402 - after the repair of its dependency


class FsdpBackend:
    """One rank's share of the policy. The sharded float32 weights are the masters; bfloat16 exists while computing."""

    def __init__(self, module: nn.Module, *, optim: OptimConfig, place: Place) -> None:
        """`module` is `PackedPolicy` in float32, the same on every rank; the process group exists."""
        self._place = place
        self._clip_norm = optim.clip_norm
        self._dtype = torch.bfloat16 if optim.dtype == "bfloat16" else torch.float32
        mesh = init_device_mesh(place.device, (place.world,))
        # Inputs are token ids and float32 advantages, which must not be rounded.
        precision = MixedPrecisionPolicy(param_dtype=self._dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
        offload = CPUOffloadPolicy(pin_memory=place.device != "cpu") if optim.offload_optimizer else OffloadPolicy()
        layers = [layer for layer in module.modules() if isinstance(layer, GradientCheckpointingLayer)]
        for layer in [*layers, module]:
            fully_shard(layer, mesh=mesh, mp_policy=precision, offload_policy=offload)
        self._policy = module
        # Taken now: between a forward pass and its backward the module shows whole tensors in their place.
        self._sharded = [(name.removeprefix(PREFIX), cast("DTensor", p)) for name, p in module.named_parameters()]
        self._trained = named_trained(module)
        self._optimizer = make_optimizer(module, optim)

    def score(self, row: RowTensors, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of each trained token of the row."""
        return self._policy(row, temperature)

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Add to the gradient, reduced over the ranks with every row.

        Reducing with the last row alone would send less, but until then each rank would hold the whole gradient in float32:
        33 GiB of an 8B policy, however many ranks share its weights. The sums are the same but for their rounding.
        """
        del is_last
        # FSDP averages over ranks, but each row's loss is already its share of the whole: undo the average.
        (loss * self._place.world).backward()

    def step(self, *, lr: float) -> float:
        """Clip, update, forget the gradient."""
        norm = nn.utils.clip_grad_norm_([parameter for _, parameter in self._trained], self._clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(cast("DTensor", norm).full_tensor())

    def shards(self, kind: Kind) -> dict[str, Shard]:
        """Views into the local parts of the sharded tensors: some first rows, the next ones, and so on."""
        found: dict[str, Shard] = {}
        for name, parameter in self._trained:
            tensor = parameter if kind == "master" else self._optimizer.state[parameter][kind]
            row = parameter.shape.numel() // parameter.shape[0]
            rows_per_rank = -(-parameter.shape[0] // self._place.world)
            start = min(self._place.rank * rows_per_rank, parameter.shape[0]) * row
            values = cast("DTensor", tensor.detach()).to_local().view(-1)
            found[name] = Shard(values=values, start=start, shape=parameter.shape)
        return found

    @contextmanager
    def restoring(self, *, updates: int) -> Generator[None]:
        """Make room for the averages. The float32 weights are the ones that compute: nothing else follows."""
        self._optimizer.state.clear()
        if updates:
            for _, parameter in self._trained:
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(updates), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        with torch.no_grad():
            yield

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole weights, one at a time, in the number format that computes."""
        for name, sharded in self._sharded:
            here = cast("DTensor", sharded.detach().to(self._place.device))
            yield name, here.full_tensor().to(self._dtype)
