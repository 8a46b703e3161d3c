"""Which settings may differ between two starts of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_searcher.commands.identity import SAFE, check_identity, grpo_identity
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.load import flat
from gen_searcher.errors import ConfigError

SAFE_CHANGES = [
    "grpo.steps=9",
    "grpo.checkpoint_every_steps=7",
    "cluster.rollout_workers=3",
    "cluster.call_timeout_s=5",
    "limits.lease_s=9",
    "policy.kv_cache_mib=64",
    "grpo.optim.threads=1",
    "bench.tasks=1",
]
TASK = '{"id": "t1", "prompt": "Draw it.", "meta": {}}'
IDENTITY_CHANGES = [
    ("seed=1", "seed: was 0, is 1"),
    ("reward.alpha=0.25", "reward.alpha: was 0.5, is 0.25"),
    ("grpo.group_size=3", "grpo.group_size: was 2, is 3"),
    ("grpo.max_staleness=1", "grpo.max_staleness: was 0, is 1"),
    ("grpo.objective.clip_low=0.1", "grpo.objective.clip_low: was "),
    ("grpo.optim.lr=1.0", "grpo.optim.lr: was 0.0002, is 1.0"),
    ("agent.temperature=0.9", "agent.temperature: was 0.7, is 0.9"),
    ("agent.max_turns=5", "agent.max_turns: was 6, is 5"),
    ("tasks.train_count=17", "tasks.train_count: was 16, is 17"),
]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def identity(tmp_path: Path, policy: Path, *changes: str) -> dict[str, str]:
    tasks = tmp_path / "tasks.jsonl"
    if not tasks.exists():
        tasks.write_text(TASK + "\n")
    cfg = load.load(["experiment=smoke", f"run_dir={tmp_path / 'run'}", f"tasks.train={tasks}", *changes])
    return grpo_identity(Workplace.open(cfg), policy)


@pytest.mark.fault(41)
def test_settings_of_where_and_how_long_may_change(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "identity.json"
    check_identity(file, identity(tmp_path, policy), what="run")
    check_identity(file, identity(tmp_path, policy, *SAFE_CHANGES), what="run")


@pytest.mark.fault(41)
def test_whatever_changes_what_a_step_means_is_refused_with_the_difference(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "identity.json"
    check_identity(file, identity(tmp_path, policy), what="run")
    for change, told in IDENTITY_CHANGES:
        with pytest.raises(ConfigError, match="belongs to another run") as caught:
            check_identity(file, identity(tmp_path, policy, change), what="run")
        lines = str(caught.value).splitlines()[1:-1]
        assert len(lines) == 1, lines
        assert told in lines[0]


@pytest.mark.fault(41)
def test_other_weights_are_another_run(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "identity.json"
    check_identity(file, identity(tmp_path, policy), what="run")
    (policy / "config.json").write_text("{} ")
    with pytest.raises(ConfigError, match="policy: was "):
        check_identity(file, identity(tmp_path, policy), what="run")


def test_other_tasks_are_another_run_and_the_same_ones_elsewhere_are_not(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "identity.json"
    check_identity(file, identity(tmp_path, policy), what="run")
    moved = tmp_path / "moved.jsonl"
    moved.write_text(TASK + "\n")
    check_identity(file, identity(tmp_path, policy, f"tasks.train={moved}"), what="run")
    (tmp_path / "tasks.jsonl").write_text(TASK.replace("Draw", "Paint") + "\n")
    with pytest.raises(ConfigError, match="train tasks: was "):
        check_identity(file, identity(tmp_path, policy), what="run")


def test_every_safe_setting_is_a_setting(tmp_path: Path) -> None:
    keys = flat(load.load(["experiment=smoke", f"run_dir={tmp_path}"]))
    unknown = [safe for safe in SAFE if not any(key == safe or key.startswith(f"{safe}.") for key in keys)]
    assert unknown == []
