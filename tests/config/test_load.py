from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gen_searcher.config import load
from gen_searcher.errors import ConfigError


def problem(*overrides: str, config_dir: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load.load(overrides, config_dir=config_dir)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_an_override_reaches_a_setting_that_no_yaml_mentions() -> None:
    cfg = load.load(["grpo.steps=7", "sft.optim.lr=3e-4", "bench.arms=[sft,untrained]"])
    assert (cfg.grpo.steps, cfg.sft.optim.lr, cfg.bench.arms) == (7, 3e-4, ("sft", "untrained"))


def test_an_override_beats_the_experiment_and_the_experiment_beats_the_defaults() -> None:
    assert load.load([]).agent.prompt == "full"
    assert load.load(["experiment=laptop"]).agent.prompt == "brief"
    assert load.load(["experiment=laptop", "agent.prompt=full"]).agent.prompt == "full"


def test_the_printed_config_loads_to_the_same_config(tmp_path: Path) -> None:
    cfg = load.load(["experiment=laptop", "reward.alpha=0.25"])
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "again.yaml").write_text("# @package _global_\n" + load.dump_yaml(cfg))
    assert load.load(["experiment=again"], config_dir=tmp_path) == cfg


def test_the_resolved_config_is_kept_in_the_run_directory(tmp_path: Path) -> None:
    cfg = load.load([f"run_dir='{tmp_path}'", "seed=5"])
    path = load.write(cfg, command="grpo")
    assert path == tmp_path / "config" / "grpo.yaml"
    assert yaml.safe_load(path.read_text())["seed"] == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found None"),
        ("[1, 2", "expected ',' or ']'"),
        ("grpo: {stepz: 3}", "grpo.stepz: there is no such setting"),
        ("seed: 0b_", "invalid literal for int"),
        ("seed: 2026-99-99", "month must be in 1..12"),
        ("[" * 1000, "nested without end"),
    ],
)
def test_a_written_configuration_that_cannot_be_read_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="somewhere: not a configuration") as found:
        load.read(text, source="somewhere")
    assert said in str(found.value)


def test_an_unknown_key_names_its_full_path_and_what_was_meant() -> None:
    assert problem("grpo.stepz=3").endswith("grpo.stepz: there is no such setting; did you mean grpo.steps?")
    assert "group_size: there is no such setting; did you mean grpo.group_size?" in problem("group_size=3")
    assert "grop.steps: there is no such setting; did you mean grpo.steps?" in problem("grop.steps=3")
    assert "agent.tools.hits: there is no such setting; did you mean agent.tools.hits_per_search" in problem(
        "agent.tools.hits=2"
    )


def test_a_wrong_type_names_path_found_and_expected() -> None:
    assert "sft.epochs: found 'many' (str), expected: integer" in problem("sft.epochs=many")
    assert "reward.alpha: found 2 (int), expected: less than or equal to 1" in problem("reward.alpha=2")
    assert "cluster.address: found 'foo' (str), expected: 'local' or 'auto'" in problem("cluster.address=foo")


def test_several_problems_are_shown_together() -> None:
    text = problem("grpo.stepz=3", "sft.epochs=many", "reward.alpha=2")
    assert text.startswith("the configuration has 3 problems:")
    assert len(text.splitlines()) == 4


def test_many_problems_still_fit_on_a_screen() -> None:
    text = problem(*(f"grpo.unknown_{index}=1" for index in range(40)))
    assert len(text.splitlines()) == 14
    assert text.endswith("... and 28 more")


def test_an_unknown_choice_of_a_group_lists_the_choices() -> None:
    text = problem("generator=embeded")
    assert "generator=embeded: there is no such file" in text
    assert "did you mean generator=embedded?" in text


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("a={b", "cannot read the override 'a={b'"),
        ("seed=1,2", "is a sweep"),
        ("run_dir=???", "run_dir: must be set"),
        ("seed=${nowhere}", "seed: "),
        ("judges.image=5", "judges.image: needs `_target_: package.module.Class`"),
    ],
)
def test_an_override_that_cannot_work_says_why(override: str, complaint: str) -> None:
    assert complaint in problem(override)


def test_a_folder_of_the_user_adds_choices_beside_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator" / "mine.yaml").write_text("# @package generator\n_target_: my.pkg.Model\nsteps: 4\n")
    cfg = load.load(["generator=mine", "experiment=smoke"], config_dir=tmp_path)
    assert (cfg.generator.target, cfg.generator.keywords) == ("my.pkg.Model", {"steps": 4})
    assert "is not a folder" in problem(config_dir=tmp_path / "nowhere")


def test_a_plug_of_the_config_replaced_in_one_override_drops_no_keyword_silently() -> None:
    cfg = load.load(["generator._target_=my.pkg.Model", "generator.steps=4"])
    assert cfg.generator.target == "my.pkg.Model"
    assert cfg.generator.keywords["steps"] == 4


def test_the_engine_serves_what_the_agent_may_use() -> None:
    assert load.load([]).policy.max_context_tokens == load.load([]).agent.max_context_tokens == 36_000
    assert load.load(["agent.max_context_tokens=5000"]).policy.max_context_tokens == 5000
    assert load.load(["policy.max_context_tokens=40000"]).agent.max_context_tokens == 36_000


def test_values_never_change_after_load() -> None:
    cfg = load.load([])
    with pytest.raises(ValueError, match="frozen"):
        cfg.seed = 3  # pyright: ignore[reportAttributeAccessIssue]  # the point of the test
