"""What makes two starts the same run: the settings and files whose change would make its steps incomparable.

Everything in the configuration is identity, but for `SAFE`: a setting that somebody adds is identity until it is listed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from gen_searcher.commands.workplace import Workplace, fingerprint
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError

SAFE = (
    "run_dir",  # a run directory may be moved
    "cluster",  # where things run, how many of them, and how much outage is too much
    "limits",  # rates and budgets: a larger budget lets a run go on
    "cassette",  # who answers; not what is asked
    "policy.path",  # by content, see `grpo_identity`
    "policy.small",
    "policy.engine",
    "policy.max_concurrent_requests",
    "policy.max_batched_tokens",
    "policy.kv_cache_mib",
    "policy.tensor_parallel",
    "policy.threads",
    "policy.weights",
    "policy.compiled",
    "policy.retries",
    "tasks.train",  # by content
    "tasks.heldout",
    "tasks.heldout_count",
    "reward.calibration",
    "reward.shadow_frac",
    "reward.shadow_judges",
    "grpo.steps",
    "grpo.checkpoint_every_steps",
    "grpo.keep_checkpoints",
    "grpo.lost_retries",
    "grpo.max_logprob_gap_nats",
    "grpo.optim.backend",
    "grpo.optim.zero_stage",
    "grpo.optim.offload_optimizer",
    "grpo.optim.feature_cache_mib",
    "grpo.optim.chunk_tokens",
    "grpo.optim.gradient_checkpointing",
    "grpo.optim.threads",
    "judge_check",
    "sft",  # has made the policy, which counts by content
    "bench",
    "ladder",
    "generate",
    "export",
    "painter",
    "serve",
    "replay",
    "trackers",
)
"""Settings that may differ between two starts of one run, with everything below them."""


def grpo_identity(place: Workplace, start: Path) -> dict[str, str]:
    """Of a GRPO run: the policy it starts from and its tasks by content, every setting that is not `SAFE` by value."""
    settings = {key: json.dumps(value) for key, value in flat(place.cfg).items() if not _is_safe(key)}
    return {
        "policy": fingerprint(start),
        "train tasks": hashlib.sha256(place.task_file("train").read_bytes()).hexdigest(),
        **settings,
    }


def check_identity(path: Path, now: Mapping[str, str], *, what: str) -> None:
    """Write what a stage started from, or compare it when the stage is resumed.

    Raises:
        ConfigError: The stage was started from something else; says what differs.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(dict(now), indent=1), encoding="utf-8")
        part.replace(path)
        return
    before = {str(key): str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if differing:
        lines = "\n".join(
            f"  {key}: was {before.get(key, 'not set')}, is {now.get(key, 'not set')}" for key in differing
        )
        raise ConfigError(
            f"{path.parent} belongs to another {what} and cannot be resumed with this one:\n{lines}\n"
            f"Use another run_dir, or delete {path.parent} to start over"
        )


def flat(cfg: RunConfig) -> dict[str, JsonValue]:
    """Every setting by its dotted key; secrets stay references."""
    return dict(_leaves("", cast("JsonValue", cfg.model_dump(mode="json"))))


def _leaves(key: str, value: JsonValue) -> list[tuple[str, JsonValue]]:
    if not isinstance(value, dict) or not value:
        return [(key, value)]
    return [leaf for name, below in value.items() for leaf in _leaves(f"{key}.{name}" if key else name, below)]


def _is_safe(key: str) -> bool:
    return any(key == safe or key.startswith(f"{safe}.") for safe in SAFE)
