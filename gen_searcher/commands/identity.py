"""What makes two starts the same run: the settings and files whose change would make its steps incomparable.

Everything in the configuration is identity, but for `SAFE`: a setting that somebody adds is identity until it is listed,
and a run that was begun without it is refused, as nobody can tell from its default what the steps were made with. A new
setting whose default changes nothing is left out of what is written (`exclude_if`, as `agent.looks` is).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gen_searcher.commands.fingerprints import fingerprint, is_fingerprint
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.load import flat
from gen_searcher.config.secrets import is_reference
from gen_searcher.data.tasks import ground_truths
from gen_searcher.errors import ConfigError, UserError

SAFE = (
    "run_dir",  # a run directory may be moved
    "cluster",  # where things run, how many of them, and how much outage is too much
    "limits",  # rates and budgets: a larger budget lets a run go on
    "cassette",  # who answers; not what is asked
    "policy.path",  # by content, see `grpo_identity`
    "policy.small",
    "policy.pretrained",
    "policy.engine",
    "policy.max_concurrent_requests",
    "policy.max_batched_tokens",
    "policy.kv_cache_mib",
    "policy.device_frac",
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
    "data",  # has made the tasks, which count by content
    "sft",  # has made the policy, which counts by content
    "bench",
    "doctor",
    "ladder",
    "generate",
    "export",
    "painter",
    "plan",
    "serve",
    "log",
    "replay",
    "report",
    "trackers",
    "trace",
)
"""Settings that may differ between two starts of one run, with everything below them."""

SFT_SAFE = (
    "sft.demonstrations",  # by content
    "sft.demonstrations_format",
    "sft.export_sharegpt",
    "sft.checkpoint_every_steps",
)
"""Settings of `sft` that may differ between two starts of fine-tuning, beside those of its optimizer that are `SAFE` in
`grpo`."""

POLICY = "policy"
"""The entry that says which policy a stage started from: the `fingerprint` of its folder."""
MOST_SHOWN = 12
"""More differences do not fit on a screen."""
_WRITTEN = TypeAdapter(dict[str, str])


def grpo_identity(place: Workplace, start: Path) -> dict[str, str]:
    """Of a GRPO run: the policy it starts from, its tasks and their pictures by content, and settings by value.

    Of the settings all but those that are `SAFE` and references to secrets: another key brings the same answers.
    """
    settings = {
        key: json.dumps(value)
        for key, value in flat(place.cfg).items()
        if not is_safe_in_grpo(key) and not (isinstance(value, str) and is_reference(value))
    }
    tasks = place.task_file("train")
    pictures = {f"ground truth, line {each.line} ({each.name})": each.sha256 for each in ground_truths(tasks)}
    return {
        POLICY: fingerprint(start),
        "train tasks": hashlib.sha256(tasks.read_bytes()).hexdigest(),
        **pictures,
        **settings,
    }


def sft_identity(place: Workplace, base: Path) -> dict[str, str]:
    """Of a fine-tuning: the policy it starts from, its seed, and settings by value."""
    settings = {
        key: json.dumps(value)
        for key, value in flat(place.cfg).items()
        if key.startswith("sft.") and not is_safe_in_sft(key)
    }
    return {POLICY: fingerprint(base), "seed": json.dumps(place.cfg.seed), **settings}


def is_safe_in_grpo(key: str) -> bool:
    """Whether a setting may differ between two starts of a GRPO run."""
    return _is_below(key, SAFE)


def is_safe_in_sft(key: str) -> bool:
    """Whether a setting below `sft` may differ between two starts of fine-tuning."""
    return _is_below(key, SFT_SAFE) or is_safe_in_grpo("grpo." + key.removeprefix("sft."))


def check_identity(
    path: Path,
    now: Mapping[str, str],
    *,
    what: str,
    policy: Path | None = None,
    is_safe: Callable[[str], bool] = lambda _: False,
) -> None:
    """Write what a stage started from, or compare it when the stage is resumed.

    Args:
        path: Where it is written.
        now: What the stage starts from.
        what: The stage, in words.
        policy: The folder whose fingerprint `now` holds, where an earlier version may have written another one of it.
        is_safe: Which entries do not count; an earlier version may have written some that are safe today.

    Raises:
        ConfigError: The stage was started from something else; says what differs.
        UserError: What was written is damaged.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(dict(now), indent=1), encoding="utf-8")
        part.replace(path)
        return
    before = read_identity(path)
    keys = sorted(key for key in {*before, *now} if not is_safe(key))
    differing = [key for key in keys if before.get(key) != now.get(key)]
    if POLICY in differing and policy is not None and is_fingerprint(before.get(POLICY, ""), policy):
        differing.remove(POLICY)
    if differing:
        lines = "\n".join(
            f"  {key}: was {before.get(key, 'not set')}, is {now.get(key, 'not set')}" for key in differing[:MOST_SHOWN]
        )
        if len(differing) > MOST_SHOWN:
            lines += f"\n  ... and {len(differing) - MOST_SHOWN} more"
        one_sided = any(key not in before or key not in now for key in differing)
        hint = "; what is not set may be a setting of another version, and that version can go on" if one_sided else ""
        raise ConfigError(
            f"{path.parent} belongs to another {what} and cannot be resumed with this one:\n{lines}\n"
            f"Use another run_dir, or delete {path.parent} to start over{hint}"
        )


def read_identity(path: Path) -> Mapping[str, str]:
    """What `check_identity` wrote. Raises UserError when it is damaged."""
    try:
        return _WRITTEN.validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{path} is damaged, and without it nobody knows what the stage started from: bring it back from a backup, or "
            "use another run_dir"
        ) from error


def _is_below(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
