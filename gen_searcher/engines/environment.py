"""The one place that writes process environment: vLLM and DeepSpeed take some settings no other way."""

from __future__ import annotations

import os
from collections.abc import Mapping


def prepare_vllm(*, in_process: bool, threads: int, compiled: bool) -> None:
    """Set what vLLM and its child processes read. Call before the first import of vllm.

    Args:
        in_process: True keeps scheduler and worker in this process instead of spawning two more.
        threads: Compute threads of each worker.
        compiled: False also switches off the stray compilations that happen in eager mode.
    """
    values = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0" if in_process else "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the default pins every engine of a host to the same core
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "0",  # the sampler of `vllm_plugin/kept_mass.py` fits the first model runner
        "OMP_NUM_THREADS": str(threads),
    }
    if not compiled:
        values["TORCH_COMPILE_DISABLE"] = "1"
    set_values(values)


def set_values(values: Mapping[str, str]) -> None:
    """Set variables that a library is about to read. Nothing of ours ever reads them."""
    os.environ.update(values)  # noqa: TID251 - written for libraries that take these settings no other way, never read


def set_unless_given(values: Mapping[str, str]) -> None:
    """The same for what the one who runs the machine may know better: a value that is there already stays."""
    for name, value in values.items():
        os.environ.setdefault(name, value)  # noqa: TID251 - as above
