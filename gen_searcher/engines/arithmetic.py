"""What a learner's bits depend on, beside weights and batch, in one line of text."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")


def arithmetic(*, device: str, threads: int, ranks: int) -> str:
    """Library, processor and division of work of this process.

    Sums of floats depend on their order. The libraries choose it by the processor's vector units, by the number of
    threads and of ranks; another processor or another release therefore gives other last bits from the same numbers.
    """
    if device == "cuda":
        place = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    else:
        place = f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"
    return f"torch {torch.__version__}, {place}, threads {threads}, ranks {ranks}"


def _processor() -> str:
    """The model's name, because MKL tells makers and generations apart that have the same vector units."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
