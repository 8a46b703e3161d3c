"""DeepSpeed as we use it: its types, what it needs before the first weight, OptimConfig -> engine."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false
# (deepspeed is not typed)

from __future__ import annotations

import contextlib
import io
import logging
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.environment import set_values
from gen_searcher.engines.learner_backend import make_optimizer
from gen_searcher.engines.rank_group import Place
from gen_searcher.grpo.tensors import RowTensors


class Address(Protocol):
    """A run of values in a flat tensor."""

    start: int
    numel: int


class Mapping12(Protocol):
    """Under ZeRO 1 and 2, which part of a parameter this rank updates, and where its float32 copy lies."""

    param_group_index: int
    lp_fragment_address: Address
    """In the flattened parameter."""
    hp_fragment_address: Address
    """In the flat float32 tensor of the group."""


class ZeroParameter(Protocol):
    """What DeepSpeed writes on a parameter."""

    _hp_mapping: Mapping12 | None
    """ZeRO 1 and 2 only; None where this rank updates nothing of the parameter."""
    ds_numel: int
    """ZeRO 3 only, as is the next: of the whole parameter."""
    ds_shape: torch.Size


class ZeroOptimizer(Protocol):
    """What we use of DeepSpeed's optimizer, which is not typed."""

    optimizer: torch.optim.Optimizer
    """PyTorch's, which steps on flat float32 shards."""
    param_groups: list[dict[str, object]]
    fp32_partitioned_groups_flat: list[Tensor]
    """ZeRO 3 only: it shows its shards to PyTorch's optimizer one at a time."""
    grad_position: dict[object, tuple[int, int, int]]
    """ZeRO 3 only: group, offset in its flat tensor and padded length of this rank's share of each parameter."""

    def get_param_id(self, param: ZeroParameter) -> object:
        """Key of `grad_position`."""
        ...


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


def prepare_deepspeed(place: Place) -> None:
    """Tell DeepSpeed of the process group, and what it reads from the environment when it is first imported."""
    set_values(
        {
            "DS_ACCELERATOR": place.device,
            "LOCAL_RANK": "0",  # the index of the device, and each rank's process sees one
            "LOCAL_SIZE": str(place.world),  # unset, one of DeepSpeed's collectives kills the process
        }
    )
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # Otherwise DeepSpeed compiles, for 20 s and with a compiler that need not be there, a collective that training
    # never calls.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(
        dist_backend=place.backend, auto_mpi_discovery=False, rank=place.rank, world_size=place.world, verbose=False
    )


def make_engine(module: nn.Module, optim: OptimConfig, *, device: str) -> Engine:
    """Hand the module to DeepSpeed."""
    import deepspeed

    optimizer = make_optimizer(module, optim)
    with contextlib.redirect_stdout(io.StringIO()):  # in bfloat16 it prints its memory use five times
        engine, *_ = deepspeed.initialize(
            model=module, optimizer=optimizer, config=engine_settings(optim, device=device)
        )
    return cast("Engine", engine)


def engine_settings(optim: OptimConfig, *, device: str) -> dict[str, object]:
    """DeepSpeed's own configuration. Accumulation is 1: the learner itself says which row is a step's last."""
    is_bf16 = optim.dtype == "bfloat16"
    zero: dict[str, object] = {
        "stage": optim.zero_stage,
        "overlap_comm": False,
        "reduce_bucket_size": 50_000_000,
        "allgather_bucket_size": 50_000_000,
    }
    settings: dict[str, object] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": optim.clip_norm,
        "steps_per_print": 10**9,
        "communication_data_type": "fp32",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": zero,
    }
    if optim.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": device != "cpu"}
    if is_bf16:
        settings["bf16"] = {"enabled": True}
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
    return settings
