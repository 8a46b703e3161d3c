"""Planted mistakes: doctor finds each, names its setting, and says what to do."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from gen_searcher.commands import doctor
from gen_searcher.config import load
from gen_searcher.config.endings import endings
from gen_searcher.config.plug import Plug

ROW = json.dumps({"id": "a", "prompt": "p", "gt_image": "nowhere.png"})

PLANTED = {
    "a key that is not there": (
        ["search=serper"],
        "search.search.key: the environment variable SERPER_API_KEY is not set",
    ),
    "a generator that nobody has": (
        ["generator._target_=my_pkg.Gone"],
        "generator._target_: there is no module 'my_pkg'",
    ),
    "a keyword with a slip": (["+generator.thread=1"], "did you mean 'threads'"),
    "a task file that is not there": (["tasks.train=nowhere.jsonl"], "tasks.train: there is no file nowhere.jsonl"),
    "a task without its picture": (["tasks.train='{tmp}/rows.jsonl'"], "rows.jsonl, line 1"),
    "training on what is tested": (
        ["tasks.train='{tmp}/rows.jsonl'", "tasks.heldout='{tmp}/rows.jsonl'"],
        "held-out tasks must not be trained on",
    ),
    "a policy that is none": (["policy.path='{tmp}'"], "is not a model folder: it has no config.json"),
    "a run directory without a parent": (["run_dir='{tmp}/no/run'"], "make it, or correct run_dir"),
    "a run directory that is a file": (["run_dir='{tmp}/rows.jsonl'"], "is a file, not a folder"),
    "contexts that do not fit": (["policy.max_context_tokens=1024"], "is more than policy.max_context_tokens=1024"),
    "GPUs that are not there": (
        ["cluster.roles.rollout.gpus=1", "cluster.rollout_workers=4096"],
        "4096 GPUs needed, ",
    ),
    "memory that is not there": (
        ["cluster.roles.generator.memory_gib=999999"],
        "join a cluster with cluster.address=auto",
    ),
    "equal attempts": (["agent.temperature=0"], "nothing can be learned; use 1.0"),
    "a reward without its judge": (["~judges.text"], "judges.text: missing, and reward.alpha=0.5"),
    "more references than the generator takes": (
        ["generator=qwen_edit_2509", "agent.max_references=5"],
        "set agent.max_references=3 or choose another generator",
    ),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found_with_its_cure(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERPER_API_KEY", raising=False)
    (tmp_path / "rows.jsonl").write_text(ROW + "\n")
    overrides, cure = PLANTED[mistake]
    words = [each.replace("{tmp}", str(tmp_path)) for each in overrides]
    code = doctor.run(load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", *words]))
    said = capsys.readouterr().out
    assert code == 3
    _, _, found = said.partition("configuration: cannot start\n")
    assert cure in found, said


def test_a_sound_configuration_may_start_and_its_sums_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = doctor.run(load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", "cluster.rollout_workers=3"]))
    said = capsys.readouterr().out
    assert code == 0
    assert "configuration: ready to start" in said
    assert "rollout      3 x 0.01 CPUs" in said


@pytest.mark.parametrize(
    ("today", "says"),
    [
        (date(2026, 9, 1), []),
        (date(2026, 11, 20), ["ends on 2026-12-01, in 11 days"]),
        (date(2027, 1, 1), ["has ended on 2026-12-01"]),
    ],
)
def test_a_hosted_model_that_ends_is_named_with_what_to_take_instead(today: date, says: list[str]) -> None:
    plug = Plug.model_validate({"_target_": "a.B", "server": {"model": "gpt-image-1.5"}})
    found = list(endings({"judges.image": plug}, today=today))
    assert len(found) == len(says)
    for line, words in zip(found, says, strict=True):
        assert line.startswith("judges.image.server.model: gpt-image-1.5")
        assert words in line
        assert line.endswith("set judges.image.server.model=gpt-image-2.5-sunburst")
