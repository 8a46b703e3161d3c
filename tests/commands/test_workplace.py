from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.errors import ConfigError

SMALL, PRETRAINED = "Qwen3VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"


def place(tmp_path: Path, architecture: str, *overrides: str) -> Workplace:
    """A run directory that holds a base policy already."""
    found = Workplace.open(load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", *overrides]))
    found.folder.base_policy.mkdir(parents=True)
    (found.folder.base_policy / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    return found


def test_a_part_of_the_held_out_tasks_has_new_subjects_and_new_templates_alike(tmp_path: Path) -> None:
    words = ("tasks.train_count=4", "tasks.heldout_count=20", "bench.tasks=6")
    found = place(tmp_path, PRETRAINED, *words)
    every = found.tasks("heldout")
    assert Counter(task.meta["split"] for task in every) == {"entity": 10, "template": 10}
    chosen = found.bench_tasks()
    assert Counter(task.meta["split"] for task in chosen) == {"entity": 3, "template": 3}
    assert [task.id for task in chosen] == [every[n].id for n in (0, 3, 6, 10, 13, 16)]
    whole = load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", *words[:2], "bench.tasks=20"])
    assert list(replace(found, cfg=whole).bench_tasks()) == every


@pytest.mark.parametrize(("architecture", "overrides"), [(SMALL, ()), (PRETRAINED, ("model=smol_vl",))])
def test_a_run_goes_on_from_its_own_base_policy(tmp_path: Path, architecture: str, overrides: tuple[str, ...]) -> None:
    found = place(tmp_path, architecture, *overrides)
    assert found.policy("base") == found.folder.base_policy


@pytest.mark.parametrize(
    ("architecture", "overrides", "asked"),
    [(SMALL, ("model=smol_vl",), "asks for a pretrained one"), (PRETRAINED, (), "asks for a small one")],
)
def test_a_base_policy_of_the_other_family_is_not_taken_over(
    tmp_path: Path, architecture: str, overrides: tuple[str, ...], asked: str
) -> None:
    with pytest.raises(
        ConfigError, match=f"holds a {architecture}, and policy.pretrained {asked}: use another run_dir"
    ):
        place(tmp_path, architecture, *overrides).policy("base")
