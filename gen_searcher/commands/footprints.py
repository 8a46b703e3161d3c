"""What the models of a run take in memory, role by role, beside what the GPUs of this machine have."""

from __future__ import annotations

import inspect
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType] - partly typed

from gen_searcher.config import memory
from gen_searcher.config.cluster import RoleConfig
from gen_searcher.config.memory import Footprint
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import DataError, UserError
from gen_searcher.train.run import RunFolder

GIB = 2**30
DRIVER = Path("/proc/driver/nvidia/gpus")
ASK_S = 10.0
"""Longest wait for `nvidia-smi`, which answers within a second where the driver is well."""
CURES = {
    "learner": "take more ranks (cluster.learner_ranks) with grpo.optim.zero_stage=3, grpo.optim.offload_optimizer=true or "
    "grpo.optim.lora, or a smaller policy",
    "rollout": "spread an engine over more GPUs (policy.tensor_parallel), lower policy.kv_cache_mib, or take a smaller policy",
    "generator": "give a worker a larger share (cluster.roles.generator.gpus), or choose a smaller image model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """Those of this machine."""

    count: int
    memory: float | None
    """Of the smallest [bytes]; None where nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """By one actor of a role."""

    role: str
    asks: RoleConfig
    footprint: Footprint
    each: str
    """On what, e.g. `each of 4 ranks`."""


def gpus() -> Gpus:
    """What `nvidia-smi` says, else how many the driver lists. Ray counts the same where nothing is hidden from it."""
    listed = Gpus(count=len(list(DRIVER.glob("*"))), memory=None)
    program = shutil.which("nvidia-smi")
    if program is None:
        return listed
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True).stdout
        found = [float(line) for line in said.splitlines() if line.strip()]
    except (OSError, ValueError, subprocess.SubprocessError):  # a driver that is ill, or a figure that it does not know
        return listed
    return Gpus(count=len(found), memory=min(found) * 2**20) if found else listed


def taken(cfg: RunConfig) -> list[Taken]:
    """What is known of learner, rollout and generator; a model that is not on this machine yet is left out."""
    return [*_policy(cfg), *_generator(cfg)]


def lines(found: Sequence[Taken], here: Gpus) -> Iterator[str]:
    """For people: what each role takes, and whether anything was there to compare it with."""
    if not found:
        return
    yield "in memory, without activations:"
    for one in found:
        host = f" and {one.footprint.host / GIB:.1f} GiB of host memory" if one.footprint.host else ""
        yield f"  {one.role:<10} {one.footprint.device / GIB:.1f} GiB{host} on {one.each}"
    if here.memory is None:
        yield "  not compared with a GPU: this machine has none whose memory is known"
    else:
        yield f"  compared with the smallest GPU of this machine, {here.memory / GIB:.1f} GiB"


def problems(found: Sequence[Taken], here: Gpus) -> Iterator[str]:
    """Roles whose weights alone are more than their share of the smallest GPU of this machine."""
    if here.memory is None:
        return
    for one in found:
        share = min(one.asks.gpus, 1.0)
        if share and one.footprint.device > share * here.memory:
            of = f"{share:g} of the smallest GPU of this machine" if share < 1.0 else "the smallest GPU of this machine"
            yield (
                f"cluster.roles.{one.role}: {one.footprint.device / GIB:.1f} GiB needed on {one.each}, and {of} is "
                f"{share * here.memory / GIB:.1f} GiB; {CURES[one.role]}"
            )


def _policy(cfg: RunConfig) -> Iterator[Taken]:
    folder = cfg.policy.path or RunFolder(root=cfg.run_dir).base_policy
    try:
        weights = memory.count_weights(folder)
    except DataError:
        return  # a policy that is named and broken is a problem of preflight's; a small one is not built yet
    ranks, roles = cfg.cluster.learner_ranks, cfg.cluster.roles
    yield Taken(
        role="learner",
        asks=roles.learner,
        footprint=memory.learner_rank(
            weights, cfg.grpo.optim, ranks=ranks, has_reference=cfg.grpo.objective.kl.coefficient > 0
        ),
        each=f"each of {ranks} ranks, for {weights:,} weights",
    )
    yield Taken(
        role="rollout",
        asks=roles.rollout,
        footprint=memory.engine(weights, cfg.policy),
        each=f"each of {cfg.policy.tensor_parallel} devices of an engine, for {weights:,} weights",
    )


def _generator(cfg: RunConfig) -> Iterator[Taken]:
    try:
        resolved = cfg.generator.resolved()
        path = resolved.keywords.get("path")
        folder = _local(str(path)) if path is not None else None
        weights = None if folder is None else memory.count_pipeline_weights(folder)
    except (UserError, DataError):
        return  # no such class, which preflight says; or a model of another kind than diffusers'
    dtype = resolved.keywords.get("dtype", _default(resolved.target, "dtype"))
    if weights is None or dtype not in memory.BYTES:
        return
    yield Taken(
        role="generator",
        asks=cfg.cluster.roles.generator,
        footprint=memory.drawer(weights, str(dtype)),
        each=f"each of {cfg.cluster.generator_workers} workers, for {weights:,} weights",
    )


def _local(path: str) -> Path | None:
    """The folder of a model, or of what was fetched of a hub's before; None when it is not on this machine."""
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(snapshot_download(path, local_files_only=True))
    except (OSError, ValueError):  # not fetched yet, or no name that a hub could know
        return None


def _default(target: Callable[..., object], name: str) -> object:
    parameter = inspect.signature(target).parameters.get(name)
    return None if parameter is None else parameter.default
