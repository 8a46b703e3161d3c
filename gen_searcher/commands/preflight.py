"""What can be known to be wrong before anything is spent: one list of problems, all at once."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gen_searcher.commands.placed import placed
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.data import QaSource, RowsSource
from gen_searcher.config.needs import engines_beside
from gen_searcher.config.root import RunConfig
from gen_searcher.config.trace import TraceConfig
from gen_searcher.data.tasks import load_tasks
from gen_searcher.engines.mixture import MEMBERS, Mixture
from gen_searcher.engines.policy_files import check_policy
from gen_searcher.engines.pretrained_policy import weight_file
from gen_searcher.errors import DataError, UserError
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.compose import IMAGE, TEXT
from gen_searcher.train.run import RunFolder

EXIT_PREFLIGHT = 3
MIN_FREE_GIB = 1.0
"""A run of the laptop experiment writes some hundred MiB: weights, pictures, checkpoints."""
PROBE_BYTES = 1 << 16


def check(cfg: RunConfig, *, command: str) -> None:
    """Look at everything that `command` will need.

    Raises:
        UserError: With exit code 3 and every problem that was found, one per line.
    """
    found = list(problems(cfg, command=command))
    if found:
        lines = "\n".join(f"  {line}" for problem in found for line in problem.splitlines())
        raise UserError(f"{command} cannot start:\n{lines}", exit_code=EXIT_PREFLIGHT)


def problems(cfg: RunConfig, *, command: str) -> Iterator[str]:
    """Every problem, each naming its setting."""
    yield from _run_dir(cfg.run_dir)
    yield from _plugs(cfg, command=command)
    yield from _mixture(cfg)
    yield from _references(cfg)
    yield from _trace(cfg.trace)
    yield from _files(cfg)
    yield from _consistency(cfg)
    if command == "grpo":
        yield from _grpo(cfg)
    if command == "bench":
        yield from _bench(cfg)
    if command.startswith("data "):
        yield from _data(cfg, command=command)


def _run_dir(run_dir: Path) -> Iterator[str]:
    try:
        yield from _disk(run_dir)
    except (OSError, RuntimeError) as error:  # a stale handle, a disk that went away; a link that leads to itself
        yield f"run_dir: {run_dir} cannot be looked at: {error}; mend it, or set run_dir to another folder"


def _disk(run_dir: Path) -> Iterator[str]:
    parent = run_dir.resolve().parent
    existing = run_dir if run_dir.exists() else parent
    if not existing.exists():
        yield f"run_dir: {run_dir} cannot be made, its parent {parent} does not exist; make it, or correct run_dir"
        return
    if not existing.is_dir():
        yield f"run_dir: {existing} is a file, not a folder; set run_dir to a folder's path, or move the file away"
        return
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:  # rights alone say nothing of quotas and remote disks
            probe.write(bytes(PROBE_BYTES))
            os.fsync(probe.fileno())
    except OSError as error:
        yield (
            f"run_dir: nothing can be written to {existing}: {error.strerror}; give this user the right and the room to "
            "write there, or set run_dir to a folder where it has both"
        )
        return
    free_gib = shutil.disk_usage(existing).free / 2**30
    if free_gib < MIN_FREE_GIB:
        yield (
            f"run_dir: {free_gib:.1f} GiB free at {existing}; a run needs at least {MIN_FREE_GIB:g}; make room there, or set "
            "run_dir to a folder on another disk"
        )


def _plugs(cfg: RunConfig, *, command: str) -> Iterator[str]:
    for one in placed(cfg):
        try:
            one.plug.check(one.injected, at=one.at)
            secrets = one.plug.secrets(at=one.at)
        except UserError as error:
            yield str(error)
            continue
        for place, secret in secrets.items() if _is_asked(one.at, cfg, command=command) else ():
            try:
                secret.reveal()
            except UserError as error:
                yield f"{place}: {error}"


def _is_asked(at: str, cfg: RunConfig, *, command: str) -> bool:
    """Whether the command will build the plug, and so need its keys."""
    if at.startswith("judges.") and command in ("data build", "data verify"):
        return not cfg.data.verify.judges
    if at.startswith(("judges.", "reward.")):
        has_own_judge = cfg.bench.benchmark is not None and cfg.bench.benchmark.judge is not None
        return command in ("grpo", "bench analysis", "judge calibrate") or (command == "bench" and not has_own_judge)
    return all(command.startswith(part) for part in ("bench", "data") if at.startswith(f"{part}."))


def _mixture(cfg: RunConfig) -> Iterator[str]:
    """Too few models, or a mixture within a mixture."""
    try:
        if cfg.generator.resolved().target is Mixture:
            plug_capability(cfg.generator)
    except UserError as error:
        if str(error).startswith(MEMBERS):
            yield str(error)  # `_plugs` says everything else


def _references(cfg: RunConfig) -> Iterator[str]:
    """The policy must not be promised references that the generator would cut off."""
    try:
        most = plug_capability(cfg.generator).max_references
    except UserError:
        return  # `_plugs` says what is wrong with it
    if most is not None and cfg.agent.max_references > most:
        yield (
            f"agent.max_references: {cfg.agent.max_references} is more than the {most} that {cfg.generator.target} "
            f"takes; set agent.max_references={most} or choose another generator"
        )


def _trace(trace: TraceConfig) -> Iterator[str]:
    if trace.endpoint is None:
        return
    try:
        is_there = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        is_there = False
    if not is_there:
        yield "trace.endpoint: needs opentelemetry-exporter-otlp-proto-http; pip install 'gen_searcher[traces]'"
    for name, secret in trace.headers.items():
        try:
            secret.reveal()
        except UserError as error:
            yield f"trace.headers.{name}: {error}"


def _files(cfg: RunConfig) -> Iterator[str]:
    named = {
        "tasks.train": cfg.tasks.train,
        "tasks.heldout": cfg.tasks.heldout,
        "sft.demonstrations": cfg.sft.demonstrations,
    }
    for at, path in named.items():
        if path is None:
            continue
        if not path.is_file():
            yield _no_file(at, path)
        elif at.startswith("tasks."):
            yield from _tasks(path, at)
    policy = cfg.policy.path
    if policy is not None and not (policy / "config.json").is_file():
        yield (
            f"policy.path: {policy} is not a model folder: it has no config.json; name the folder that holds config.json "
            "and the .safetensors files, e.g. what `gen-searcher export` wrote, or write policy.path=null for the small policy"
        )
    elif policy is not None:
        try:
            check_policy(policy)
        except UserError as error:
            yield f"policy.path: {error}; name the whole Hugging Face folder of another model, or mend this one"
    yield from _pretrained(cfg)
    train, heldout = cfg.tasks.train, cfg.tasks.heldout
    if train is not None and heldout is not None and train.resolve() == heldout.resolve():
        yield (
            f"tasks.heldout: the same file as tasks.train ({train}); held-out tasks must not be trained on: name another "
            "file, or write tasks.heldout=null for those of the embedded world"
        )


def _no_file(at: str, path: Path) -> str:
    looked = "" if path.is_absolute() else f" in {Path.cwd()}"
    return f"{at}: there is no file {path}{looked}; correct the path, or put the file there"


def _pretrained(cfg: RunConfig) -> Iterator[str]:
    """The weights must be there until the policy has been built from them."""
    is_built = (RunFolder(root=cfg.run_dir).base_policy / "config.json").is_file()
    if cfg.policy.path is None and cfg.policy.pretrained is not None and not is_built:
        try:
            weight_file(cfg.policy.pretrained)
        except UserError as error:
            yield f"policy.pretrained: {error}"


def _tasks(path: Path, at: str) -> Iterator[str]:
    """Read the whole file, pictures too; they go to a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            load_tasks(path, ImageStore(Path(folder)))
        except DataError as error:
            yield f"{at}: {error}"


def _consistency(cfg: RunConfig) -> Iterator[str]:
    unknown = sorted(set(cfg.judges) - {IMAGE, TEXT})
    if unknown:
        yield (
            f"judges: the reward blends {IMAGE!r} and {TEXT!r}; it does not know {', '.join(unknown)}: rename it, or write it "
            "below reward.shadow_judges"
        )
    for name, share, without in ((IMAGE, 1.0 - cfg.reward.alpha, 1), (TEXT, cfg.reward.alpha, 0)):
        if share > 0.0 and name not in cfg.judges:
            yield (
                f"judges.{name}: missing, and reward.alpha={cfg.reward.alpha:g} gives it a share of {share:g}; take both "
                f"judges with judge=offline or judge=openai, or set reward.alpha={without}"
            )
    if cfg.reward.shadow_frac > 0.0 and not cfg.reward.shadow_judges:
        yield (
            f"reward.shadow_judges: none is set, and reward.shadow_frac={cfg.reward.shadow_frac:g} asks for some; name one "
            "there, or set reward.shadow_frac=0"
        )
    if cfg.bench.adversity and not cfg.search.world_server:
        yield "bench.adversity: only the embedded world has such a dial; use search=embedded"
    if cfg.agent.max_context_tokens > cfg.policy.max_context_tokens:
        yield (
            f"agent.max_context_tokens: {cfg.agent.max_context_tokens} is more than "
            f"policy.max_context_tokens={cfg.policy.max_context_tokens}, which the engine serves; set "
            f"agent.max_context_tokens={cfg.policy.max_context_tokens} or less, or raise policy.max_context_tokens"
        )
    needed = cfg.agent.max_turn_tokens + cfg.agent.answer_tokens
    if needed > cfg.agent.max_context_tokens:
        yield (
            f"agent.max_context_tokens: {cfg.agent.max_context_tokens} leaves no room for a turn and an answer ({needed}); "
            "raise it, or lower agent.max_turn_tokens or agent.answer_tokens"
        )
    if cfg.cluster.address == "auto" and not cfg.run_dir.is_absolute():
        yield (
            f"run_dir: {cfg.run_dir} is relative; on a cluster (cluster.address=auto) it must be absolute and shared, e.g. "
            f"run_dir=/shared/{cfg.run_dir.name}"
        )
    yield from _devices(cfg)
    if cfg.sft.batch_samples < cfg.cluster.learner_ranks:
        ranks = cfg.cluster.learner_ranks
        yield (
            f"sft.batch_samples: {cfg.sft.batch_samples} is less than cluster.learner_ranks={ranks}; set "
            f"sft.batch_samples={ranks} or more, or take fewer ranks"
        )


def _devices(cfg: RunConfig) -> Iterator[str]:
    learner, rollout = cfg.cluster.roles.learner.gpus, cfg.cluster.roles.rollout.gpus
    if learner > 1.0 or 0.0 < learner <= 0.5:
        yield (
            f"cluster.roles.learner.gpus: {learner:g}; a rank computes on one GPU of its own (1), on one that it shares with "
            "an engine (more than 0.5, so that no two ranks meet there), or on the CPU (0)"
        )
    if engines_beside(cfg.cluster.roles) and (cfg.policy.device_frac or 1.0) > rollout:
        found = "is not set" if cfg.policy.device_frac is None else f"is {cfg.policy.device_frac:g}"
        yield (
            f"policy.device_frac: {found}, and an engine that shares a GPU with a learner rank would take the memory of both; "
            f"set it to cluster.roles.rollout.gpus={rollout:g} at most"
        )
    seen = max(1.0, rollout)  # of a share of a GPU an engine sees that one GPU
    if rollout > 0.0 and seen != cfg.policy.tensor_parallel:
        yield (
            f"cluster.roles.rollout.gpus: {rollout:g}, and policy.tensor_parallel={cfg.policy.tensor_parallel} is how many "
            f"one engine spans; they must be equal: set cluster.roles.rollout.gpus={cfg.policy.tensor_parallel} or "
            f"policy.tensor_parallel={seen:g}"
        )


def _grpo(cfg: RunConfig) -> Iterator[str]:
    reward, optim = cfg.reward, cfg.grpo.optim
    if cfg.agent.max_context_tokens > optim.row_tokens:
        yield (
            f"grpo.optim.row_tokens: {optim.row_tokens} is less than agent.max_context_tokens={cfg.agent.max_context_tokens}, "
            "and a trajectory that long could not be learned from; set it at least as high"
        )
    if optim.backend == "fsdp2" and optim.offload_optimizer and cfg.cluster.roles.learner.gpus:
        yield (
            "grpo.optim.offload_optimizer: with backend=fsdp2 on GPUs gradients that lie in host memory cannot be summed over "
            "ranks by NCCL; use grpo.optim.backend=deepspeed, or false"
        )
    if cfg.grpo.pictures.only_useful and (reward.format_share or reward.tool_call_cost or reward.token_cost_per_1k):
        yield (
            "grpo.pictures.only_useful: which pictures can move the policy is known only for the plain blend of two "
            "judges; set reward.format_share, reward.tool_call_cost and reward.token_cost_per_1k to 0"
        )
    if cfg.agent.temperature <= 0.0:
        yield "agent.temperature: 0 makes the attempts of a group equal, so that nothing can be learned; use 1.0"
    attempts = cfg.grpo.groups_per_step * cfg.grpo.group_size
    if attempts < cfg.cluster.learner_ranks:
        yield (
            f"grpo.groups_per_step: {attempts} attempts per step are too few for {cfg.cluster.learner_ranks} learner ranks; "
            "raise grpo.groups_per_step or grpo.group_size, or lower cluster.learner_ranks"
        )


def _bench(cfg: RunConfig) -> Iterator[str]:
    benchmark = cfg.bench.benchmark
    if benchmark is None:
        if not cfg.bench.arms:
            yield "bench.arms: is empty, so that there is nothing to compare; name arms, or choose a benchmark"
        return
    others = (*benchmark.groundings, *benchmark.drawn, *benchmark.scored)
    names = (*cfg.bench.arms, *others)
    if not names:
        yield "bench.arms: is empty, and bench.benchmark names no groundings, drawn or scored; there is nothing to score"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"bench.benchmark: two arms are called {name!r}; each needs a name of its own"
    if benchmark.judge is None and IMAGE not in cfg.judges:
        yield "bench.benchmark.judge: missing, and the run has no judge named image; take one, e.g. with judge=openai"
    if not benchmark.rows and (cfg.bench.arms or (benchmark.kind != "knowgen" and len(others) > len(benchmark.scored))):
        yield "bench.benchmark.rows: missing; name the benchmark's files, e.g. bench.benchmark.rows=[rows.json]"
    for path in (
        *benchmark.rows,
        *benchmark.groundings.values(),
        *benchmark.drawn.values(),
        *benchmark.scored.values(),
    ):
        if not path.exists():
            yield _no_file("bench.benchmark", path)


def _data(cfg: RunConfig, *, command: str) -> Iterator[str]:
    data = cfg.data
    paths = {"data.rows": data.rows}
    paths |= {f"data.dedupe.heldout[{index}]": path for index, path in enumerate(data.dedupe.heldout)}
    if command in ("data build", "data propose"):
        if not data.propose.sources:
            yield "data.propose.sources: there is none; name one, or start from experiment=laptop_data"
        for name, source in data.propose.sources.items():
            if isinstance(source, RowsSource | QaSource):
                paths[f"data.propose.sources.{name}.path"] = source.path
            asks = source.kind == "writer" or (source.kind == "qa" and source.convert == "writer")
            if asks and data.propose.writer is None:
                yield (
                    f"data.propose.writer: missing, and the source {name} asks the writer; write "
                    "data.propose.writer={base_url: http://HOST:8000/v1, model: NAME}"
                )
    for at, path in paths.items():
        if path is not None and not path.is_file():
            yield _no_file(at, path)
    if command in ("data build", "data collect") and data.collect.teacher == "chat" and data.collect.chat is None:
        yield (
            "data.collect.chat: missing, and data.collect.teacher=chat asks it; write "
            "data.collect.chat={base_url: http://HOST:8000/v1, model: NAME}"
        )
    for at, server in (("data.propose.writer", data.propose.writer), ("data.collect.chat", data.collect.chat)):
        if server is not None and server.key is not None:
            try:
                server.key.reveal()
            except UserError as error:
                yield f"{at}.key: {error}"
