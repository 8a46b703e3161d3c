"""The real learner and rollout worker, killed between two things that must both happen or neither."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gen_searcher.errors import EXIT_INTERRUPTED
from gen_searcher.points import Point
from gen_searcher.testing.fault_plan import times_passed
from tests.bench.killed_driver import result
from tests.faults.invariants import TRIES, check_run, check_same

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

STEPS = 3
GROUP_SIZE = 2
SETTINGS = (
    "experiment=smoke",
    f"grpo.steps={STEPS}",
    "grpo.objective.overlong_penalty=1.0",
    "grpo.objective.overlong_frac=1.0",
    "grpo.objective.max_response_tokens=768",
)
KILLS = {
    Point.ROLLOUT_FINISHED: 3,
    Point.LEARNER_BACKWARD: 2,
    Point.LEARNER_STEPPED: 2,
    Point.CHECKPOINT_WRITTEN: 2,
    Point.CHECKPOINT_RENAMED: 2,
}
"""Point -> which time. All but the first end the learner, and the run with it."""


def start(stage: str, run_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gen_searcher", stage, *SETTINGS, f"run_dir={run_dir}", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.fault(2, 3, 4)
def test_kills_between_two_halves_end_with_75_and_lose_neither_an_instance_nor_a_bit(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property(TRIES, len(KILLS))
    whole, broken, plan = tmp_path / "whole", tmp_path / "broken", tmp_path / "plan.yaml"
    assert start("sft", whole).returncode == 0
    shutil.copytree(whole, broken)
    assert start("grpo", whole).returncode == 0
    plan.write_text(yaml.safe_dump([{"point": str(at), "time": time, "kind": "kill"} for at, time in KILLS.items()]))
    follows = f"cluster.fault_plan={{_target_:gen_searcher.testing.fault_plan.FaultPlan,path:{plan}}}"
    codes: list[int] = []
    said = ""
    while 0 not in codes and len(codes) < 2 * len(KILLS):
        done = start("grpo", broken, follows)
        codes.append(done.returncode)
        said = done.stderr
        if done.returncode == EXIT_INTERRUPTED:
            assert "run the same command again" in said.strip().splitlines()[-1]
    assert codes == [EXIT_INTERRUPTED] * (len(KILLS) - 1) + [0], said[-3000:]
    passed = times_passed(plan)
    assert all(passed[point] > time for point, time in KILLS.items()), passed
    sizes = {"group_size": GROUP_SIZE, "groups_per_step": 2}
    found, expected = check_run(broken, steps=STEPS, **sizes), check_run(whole, steps=STEPS, **sizes)
    check_same(found, expected)
    assert (found.given_up, expected.lost_tries) == (frozenset(), 0)
    assert result(broken).weights == result(whole).weights
    stages = {
        row["lost"]["stage"]
        for row in map(json.loads, (broken / "grpo" / "attempts.jsonl").read_text().splitlines())
        if row["kind"] == "lost"
    }
    assert stages <= {"actor"}
