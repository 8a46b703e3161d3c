"""Which settings may differ between two starts of a run."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from pydantic import JsonValue

from gen_searcher.commands import grpo, sft
from gen_searcher.commands import identity as identity_module
from gen_searcher.commands.identity import (
    MOST_SHOWN,
    SAFE,
    check_identity,
    grpo_identity,
    is_safe_in_grpo,
    is_safe_in_sft,
    sft_identity,
)
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.load import flat
from gen_searcher.errors import ConfigError, DataError, UserError

SAFE_CHANGES = [
    "grpo.steps=9",
    "grpo.checkpoint_every_steps=7",
    "cluster.rollout_workers=3",
    "cluster.learner_ranks=2",
    "cluster.tool_workers=5",
    "cluster.generator_workers=2",
    "cluster.reward_workers=2",
    "cluster.call_timeout_s=5",
    "limits.lease_s=9",
    "policy.kv_cache_mib=64",
    "grpo.optim.threads=1",
    "bench.tasks=1",
    "trace.endpoint=http://elsewhere:4318",
    "trace.sample=0.5",
    "trace.headers.authorization=env:OTHER",
    "plan.least_learner_ranks=4",
    "report.attempts=7",
    "data.lost=reject",
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
    ("agent.looks=1", "agent.looks: was not set, is 1"),
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
def test_a_run_of_a_version_that_wrote_down_what_is_safe_today_goes_on(tmp_path: Path, policy: Path) -> None:
    file, now = tmp_path / "identity.json", identity(tmp_path, policy)
    written = {**now, "plan.steps": "19", "report.attempts": "1", "bench.a_setting_of_then": "1", "plan.gone": "null"}
    check_identity(file, written, what="run")
    check_identity(file, now, what="run", is_safe=is_safe_in_grpo)
    with pytest.raises(ConfigError, match=r"plan\.steps: was 19, is not set"):
        check_identity(file, now, what="run")


@pytest.mark.fault(41)
def test_a_fine_tuning_of_a_version_that_wrote_down_what_is_safe_today_goes_on(tmp_path: Path, policy: Path) -> None:
    cfg = load.load(["experiment=smoke", f"run_dir={tmp_path / 'run'}"])
    file, now = tmp_path / "identity.json", sft_identity(Workplace.open(cfg), policy)
    assert "sft.epochs" in now
    check_identity(file, {**now, "sft.optim.threads": "9", "sft.export_sharegpt": "null"}, what="fine-tuning")
    check_identity(file, now, what="fine-tuning", is_safe=is_safe_in_sft)
    with pytest.raises(ConfigError, match=r"sft\.epochs: was 1, is 2"):
        check_identity(file, {**now, "sft.epochs": "2"}, what="fine-tuning", is_safe=is_safe_in_sft)


@pytest.mark.fault(41)
@pytest.mark.parametrize(("command", "safe"), [(grpo, "plan.least_learner_ranks"), (sft, "sft.optim.threads")])
def test_both_commands_go_on_from_what_an_older_version_wrote(tmp_path: Path, command: ModuleType, safe: str) -> None:
    cfg = load.load(["experiment=smoke", f"run_dir={tmp_path / 'run'}", "tasks.train_count=4", "grpo.steps=0"])
    folder = Workplace.open(cfg).folder
    for policy in (folder.base_policy, folder.policy("sft")):
        policy.mkdir(parents=True)
        (policy / "config.json").write_text('{"architectures": ["Qwen3VLForConditionalGeneration"]}')
    assert command.run(cfg) == 0
    file = folder.identity if command is grpo else folder.sft_identity
    written: dict[str, str] = json.loads(file.read_text())
    file.write_text(json.dumps({**written, safe: "77"}))
    assert command.run(cfg) == 0
    file.write_text(json.dumps({**written, "seed": "77"}))
    with pytest.raises(ConfigError, match="seed: was 77, is 0"):
        command.run(cfg)


@pytest.mark.fault(41)
def test_a_setting_that_the_version_of_the_beginning_lacked_is_refused_with_what_can_be_done(
    tmp_path: Path, policy: Path
) -> None:
    file, now = tmp_path / "identity.json", identity(tmp_path, policy)
    check_identity(file, {key: value for key, value in now.items() if key != "policy.max_images"}, what="run")
    with pytest.raises(ConfigError, match=r"policy\.max_images: was not set, is 16") as caught:
        check_identity(file, now, what="run", is_safe=is_safe_in_grpo)
    assert "may be a setting of another version, and that version can go on" in str(caught.value)
    with pytest.raises(ConfigError, match=r"seed: was 0, is 1") as caught:
        check_identity(file, {**json.loads(file.read_text()), "seed": "1"}, what="run", is_safe=is_safe_in_grpo)
    assert "version" not in str(caught.value)


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
def test_a_run_without_looks_is_the_run_it_was_before_there_were_any(tmp_path: Path, policy: Path) -> None:
    assert "agent.looks" not in identity(tmp_path, policy)
    assert identity(tmp_path, policy, "agent.looks=0") == identity(tmp_path, policy)
    assert identity(tmp_path, policy, "agent.looks=1")["agent.looks"] == "1"


@pytest.mark.fault(41)
def test_other_weights_are_another_run(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "identity.json"
    check_identity(file, identity(tmp_path, policy), what="run")
    (policy / "config.json").write_text("{} ")
    with pytest.raises(ConfigError, match="policy: was "):
        check_identity(file, identity(tmp_path, policy), what="run")


@pytest.mark.fault(41)
def test_other_tasks_are_another_run_and_the_same_ones_elsewhere_are_not(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "identity.json"
    check_identity(file, identity(tmp_path, policy), what="run")
    moved = tmp_path / "moved.jsonl"
    moved.write_text(TASK + "\n")
    check_identity(file, identity(tmp_path, policy, f"tasks.train={moved}"), what="run")
    (tmp_path / "tasks.jsonl").write_text(TASK.replace("Draw", "Paint") + "\n")
    with pytest.raises(ConfigError, match="train tasks: was "):
        check_identity(file, identity(tmp_path, policy), what="run")


@pytest.mark.fault(41)
def test_every_safe_setting_is_a_setting(tmp_path: Path) -> None:
    keys = flat(load.load(["experiment=smoke", f"run_dir={tmp_path}"]))
    unknown = [safe for safe in SAFE if not any(key == safe or key.startswith(f"{safe}.") for key in keys)]
    assert unknown == []


def other(value: JsonValue) -> JsonValue:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}-other"
        case list():
            return [*value, "other"]
        case _:
            return "other"


def with_leaf(values: JsonValue, path: list[str], new: JsonValue) -> JsonValue:
    if not path or not isinstance(values, dict):
        return new
    return {**values, path[0]: with_leaf(values[path[0]], path[1:], new)}


@pytest.mark.fault(41)
def test_each_setting_of_all_is_either_safe_or_the_one_difference_that_is_told(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(TASK + "\n")
    cfg = load.load(["experiment=smoke", f"run_dir={tmp_path / 'run'}", f"tasks.train={tasks}"])
    place = Workplace.open(cfg)
    before, whole = grpo_identity(place, policy), flat(cfg)
    dumped = cfg.model_dump(mode="json")
    assert len(whole) > 200
    told: list[str] = []
    for key, value in whole.items():
        changed = with_leaf(dumped, key.split("."), other(value))
        monkeypatch.setattr(identity_module, "flat", lambda _, changed=changed: dict(load.leaves("", changed)))
        now = grpo_identity(place, policy)
        differing = {name for name in {*before, *now} if before.get(name) != now.get(name)}
        is_safe = any(key == safe or key.startswith(f"{safe}.") for safe in SAFE)
        assert {name for name in differing if not name.startswith(key)} == set(), key
        assert bool(differing) is not is_safe, key
        told += differing
    assert {"seed", "reward.alpha", "grpo.group_size", "generator._target_", "judges.image._target_"} <= set(told)


@pytest.mark.fault(41)
def test_another_key_is_the_same_run(tmp_path: Path, policy: Path) -> None:
    file = tmp_path / "identity.json"
    judge = "judges.text={_target_: a.B, model: m, key: env:%s}"
    check_identity(file, identity(tmp_path, policy, judge % "ONE"), what="run")
    check_identity(file, identity(tmp_path, policy, judge % "OTHER"), what="run")
    with pytest.raises(ConfigError, match=r"judges\.text\.model: was "):
        check_identity(file, identity(tmp_path, policy, (judge % "ONE").replace("model: m", "model: n")), what="run")


@pytest.mark.fault(42)
def test_a_ground_truth_that_was_swapped_after_the_start_is_named_with_its_line(tmp_path: Path, policy: Path) -> None:
    rows = [json.dumps({"id": f"t{n}", "prompt": "Draw it.", "gt_image": f"{n}.png"}) for n in range(3)]
    (tmp_path / "tasks.jsonl").write_text("\n".join(rows) + "\n")
    for number in range(3):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
    file = tmp_path / "identity.json"
    check_identity(file, identity(tmp_path, policy), what="run")
    check_identity(file, identity(tmp_path, policy), what="run")
    Image.new("RGB", (32, 32), "blue").save(tmp_path / "1.png")
    with pytest.raises(ConfigError, match="belongs to another run") as caught:
        check_identity(file, identity(tmp_path, policy), what="run")
    lines = str(caught.value).splitlines()[1:-1]
    assert len(lines) == 1
    assert lines[0].startswith("  ground truth, line 2 (1.png): was ")
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"tasks\.jsonl, line 2: gt_image: .*1\.png"):
        identity(tmp_path, policy)


@pytest.mark.fault(41)
def test_many_differences_fit_on_a_screen(tmp_path: Path) -> None:
    file = tmp_path / "identity.json"
    check_identity(file, {f"setting {n:03}": "1" for n in range(500)}, what="run")
    with pytest.raises(ConfigError) as caught:
        check_identity(file, {f"setting {n:03}": "2" for n in range(500)}, what="run")
    lines = str(caught.value).splitlines()
    assert len(lines) == MOST_SHOWN + 3
    assert lines[-2] == f"  ... and {500 - MOST_SHOWN} more"


@pytest.mark.fault(41)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"a": 1}'])
def test_a_damaged_identity_is_named(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "identity.json"
    file.write_bytes(body)
    with pytest.raises(UserError, match=r"identity\.json is damaged"):
        check_identity(file, {}, what="run")
    assert file.read_bytes() == body
