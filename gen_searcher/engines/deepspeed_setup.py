"""What DeepSpeed needs before the first weight: OptimConfig + place among the ranks -> process group and engine."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false
# (deepspeed is not typed)

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.environment import set_values
from gen_searcher.grpo.tensors import RowTensors

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""A rank that waits longer for its peers has lost them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One rank among its peers."""

    rank: int = 0
    world: int = 1
    master_addr: str = "127.0.0.1"
    master_port: int = 29500
    device: str = "cpu"
    """`cpu` (gloo) or `cuda` (NCCL, the one device that the process sees)."""


class ZeroOptimizer(Protocol):
    """What we use of DeepSpeed's optimizer, which is not typed."""

    optimizer: torch.optim.Optimizer
    """PyTorch's, which steps on flat float32 shards."""
    param_groups: list[dict[str, object]]
    fp32_partitioned_groups_flat: list[Tensor]
    """ZeRO 3 only: it shows its shards to PyTorch's optimizer one at a time."""


class Engine(Protocol):
    """What we use of DeepSpeed's engine around `PackedPolicy`; the engine itself is not typed."""

    module: nn.Module
    optimizer: ZeroOptimizer

    def __call__(self, row: RowTensors, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of each trained token of the row."""
        ...

    def backward(self, loss: Tensor, *, scale_wrt_gas: bool) -> Tensor:
        """Add to the gradient; at a boundary, reduce it over the ranks."""
        ...

    def step(self) -> None:
        """Clip, update, forget the gradient."""
        ...

    def set_gradient_accumulation_boundary(self, is_boundary: bool) -> None:
        """Say whether the next backward pass is the step's last."""
        ...

    def get_global_grad_norm(self) -> float | Tensor | None:
        """Of the last step, before clipping."""
        ...

    def zero_optimization_stage(self) -> int:
        """1, 2 or 3."""
        ...

    def train(self) -> object:
        """Training mode."""
        ...

    def eval(self) -> object:
        """Evaluation mode."""
        ...


def prepare_deepspeed(place: Place, *, threads: int) -> None:
    """Set what DeepSpeed and gloo read from the environment. Call before the first import of deepspeed."""
    values = {
        "DS_ACCELERATOR": place.device,
        "LOCAL_RANK": "0",  # the index of the device, and each rank's process sees one
        "LOCAL_SIZE": str(place.world),  # unset, one of DeepSpeed's collectives kills the process
        "OMP_NUM_THREADS": str(threads),
    }
    if place.device == "cpu" and place.master_addr == "127.0.0.1":
        values["GLOO_SOCKET_IFNAME"] = "lo"  # the host's name need not resolve
    set_values(values)


def join_group(place: Place) -> None:
    """Meet the other ranks, unless this process already has."""
    import deepspeed
    import torch.distributed as dist

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # Otherwise DeepSpeed compiles, for 20 s and with a compiler that need not be there, a collective that training
    # never calls.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    backend = "gloo" if place.device == "cpu" else "nccl"
    if not dist.is_initialized():
        dist.init_process_group(
            backend,
            init_method=f"tcp://{place.master_addr}:{place.master_port}",
            rank=place.rank,
            world_size=place.world,
            timeout=COLLECTIVE_TIMEOUT,
        )
    deepspeed.init_distributed(
        dist_backend=backend, auto_mpi_discovery=False, rank=place.rank, world_size=place.world, verbose=False
    )


def make_engine(module: nn.Module, optim: OptimConfig) -> Engine:
    """Hand the module to DeepSpeed with PyTorch's own AdamW, which needs no compiler."""
    import deepspeed

    optimizer = torch.optim.AdamW(
        module.parameters(),
        lr=0.0,  # set before every step: the schedule is ours
        betas=optim.betas,
        eps=optim.eps,
        weight_decay=optim.weight_decay,
        fused=True,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # in bfloat16 it prints its memory use five times
        engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=engine_settings(optim))
    return cast("Engine", engine)


def engine_settings(optim: OptimConfig) -> dict[str, object]:
    """DeepSpeed's own configuration. Accumulation is 1: the learner itself says which row is a step's last."""
    is_bf16 = optim.dtype == "bfloat16"
    settings: dict[str, object] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": optim.clip_norm,
        "steps_per_print": 10**9,
        "communication_data_type": "fp32",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": optim.zero_stage,
            "overlap_comm": False,
            "reduce_bucket_size": 50_000_000,
            "allgather_bucket_size": 50_000_000,
        },
    }
    if is_bf16:
        settings["bf16"] = {"enabled": True}
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
    return settings
