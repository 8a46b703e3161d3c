"""OptimConfig -> the backend that it names."""

from __future__ import annotations

from torch import nn

from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.learner_backend import LearnerBackend
from gen_searcher.engines.rank_group import Place


def make_backend(module: nn.Module, *, optim: OptimConfig, place: Place) -> LearnerBackend:
    """Shard the module over the ranks; every rank must call.

    Args:
        module: `PackedPolicy` in float32, the same on every rank.
        optim: Which backend, and its settings.
        place: This rank; the process group exists.
    """
    if optim.backend == "fsdp2":
        from gen_searcher.engines.fsdp_backend import FsdpBackend

        return FsdpBackend(module, optim=optim, place=place)
    from gen_searcher.engines.deepspeed_backend import DeepspeedBackend

    return DeepspeedBackend(module, optim=optim, place=place)
