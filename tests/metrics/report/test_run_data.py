from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gen_searcher.metrics.report.run_data import read_run, who_made_it
from tests.metrics.report.test_page import embedded, written

if TYPE_CHECKING:
    from tests.metrics.report.conftest import FixtureRun

GRPO = """
policy: {path: null, engine: vllm}
agent: {temperature: 0.7}
reward: {alpha: 0.25}
generator:
  _target_: my.Mixture
  members:
    large: {_target_: my.Diffusers, pipeline: QwenPipeline, path: Qwen/Qwen-Image, revision: abc123, steps: 8, key: env:HF}
judges:
  image:
    _target_: my.Judge
    server: {base_url: "https://api.test/v1", model: judge-4, key: env:JUDGE_KEY, tries: 4}
  text: {_target_: my.Local, model: null}
"""
BENCH = GRPO.replace("judge-4", "judge-5").replace("0.25", "0.5")


@pytest.fixture
def configured(run: FixtureRun) -> FixtureRun:
    run.text("config/grpo.yaml", GRPO)
    run.text("config/bench.yaml", BENCH)
    return run


def test_generator_and_judges_are_named_with_their_models_and_without_keys_and_addresses(
    configured: FixtureRun,
) -> None:
    assert who_made_it(read_run(configured.root, notes=[]), "grpo") == {
        "policy.path": "None",
        "policy.engine": "vllm",
        "agent.temperature": "0.7",
        "reward.alpha": "0.25",
        "generator._target_": "my.Mixture",
        "generator.members.large._target_": "my.Diffusers",
        "generator.members.large.pipeline": "QwenPipeline",
        "generator.members.large.path": "Qwen/Qwen-Image",
        "generator.members.large.revision": "abc123",
        "judges.image._target_": "my.Judge",
        "judges.image.server.model": "judge-4",
        "judges.text._target_": "my.Local",
    }


def test_an_arm_is_told_by_the_settings_that_it_was_measured_with(configured: FixtureRun) -> None:
    configured.lines("grpo/attempts.jsonl", [configured.line("Poland", step=1)])
    (facts,) = embedded(written(configured), "data-run")
    assert [facts[made]["judges.image.server.model"] for made in ("training", "arms")] == ["judge-4", "judge-5"]
    assert [facts[made]["reward.alpha"] for made in ("training", "arms")] == ["0.25", "0.5"]


def test_without_settings_nobody_is_named(run: FixtureRun) -> None:
    run.root.mkdir()
    assert who_made_it(read_run(run.root, notes=[]), "grpo") == {}


def test_settings_of_another_command_stand_in_for_missing_ones(run: FixtureRun) -> None:
    run.text("config/bench.yaml", BENCH)
    assert who_made_it(read_run(run.root, notes=[]), "grpo")["reward.alpha"] == "0.5"
