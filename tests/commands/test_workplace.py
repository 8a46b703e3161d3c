from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.data.tasks import chosen_tasks
from gen_searcher.errors import ConfigError

SMALL, PRETRAINED = "Qwen3VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"


def place(tmp_path: Path, architecture: str, *overrides: str) -> Workplace:
    """A run directory that holds a base policy already."""
    found = Workplace.open(load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", *overrides]))
    found.folder.base_policy.mkdir(parents=True)
    (found.folder.base_policy / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    return found


def test_a_part_of_the_held_out_tasks_has_every_family_and_both_splits(tmp_path: Path) -> None:
    found = place(tmp_path, PRETRAINED, "tasks.train_count=4", "tasks.heldout_count=100", "bench.tasks=60")
    every = found.tasks("heldout")
    assert Counter(task.meta["split"] for task in every) == {"entity": 50, "template": 50}
    families: dict[int, int] = {}
    for count in (10, 20, 40, 60, 100):
        part = chosen_tasks(every, count)
        assert abs(Counter(task.meta["split"] for task in part)["entity"] - count / 2) <= 2
        families[count] = len({task.meta["family"] for task in part})
    assert families == {10: 9, 20: 11, 40: 16, 60: 17, 100: 17}, "at equal distances 20 would have had 10"
    assert found.bench_tasks() == chosen_tasks(every, 60)


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
