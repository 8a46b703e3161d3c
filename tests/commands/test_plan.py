"""`gen-searcher plan` on a laptop's shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher import cli
from gen_searcher.commands import plan
from gen_searcher.config import load
from gen_searcher.errors import ConfigError
from tests.plan.test_recorded import grounded, turn, write_run

FIXED = [
    "plan.turns=[3]",
    "plan.turn={median_s: 2.0}",
    "plan.tool={median_s: 1.0}",
    "plan.draw={median_s: 5.0}",
    "plan.judges={image: {median_s: 4.0}}",
    "plan.engine={batch: 4}",
    "cluster.roles={rollout: {gpus: 1}, generator: {gpus: 1}, learner: {gpus: 1}}",
    "plan.learn_s=0.5",
    "plan.steps=4",
    "plan.usd_per_gpu_hour=2",
    "grpo.groups_per_step=1",
    "grpo.group_size=2",
    "grpo.max_staleness=0",
    "cluster.generator_workers=2",
]


def test_a_plan_says_what_arithmetic_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", *FIXED]) == 0
    out = capsys.readouterr().out
    assert "1 rollout worker, 2 generators, 1 reward worker, 1 learner rank (4 GPUs); 1 group of 2," in out
    assert "step               19.0 s, 189.5 steps/h" in out, (
        "8 s of search, 5 to draw, 4 to judge, 1 to learn, 1 to publish"
    )
    assert "generators 74%" in out
    assert "0.00 on average, 0 at most" in out
    assert "8.00 USD/h for GPUs, 0.04 USD a step" in out


def test_a_budget_brings_a_shape_as_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", *FIXED, "grpo.max_staleness=3", "plan.budget_usd_per_hour=16"]) == 0
    proposed = capsys.readouterr().out.split("proposed for 8 GPUs")[1]
    assert "(8 GPUs)" in proposed
    assert "cluster.rollout_workers=" in proposed
    assert "attempts_in_flight" not in proposed


def test_a_proposal_says_that_it_has_no_bound_on_attempts_and_what_it_leaves_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = [
        "cluster.roles.generator.gpus=0",
        "cluster.learner_ranks=2",
        "grpo.attempts_in_flight=4",
        "plan.learn_s=0.1",
    ]
    assert cli.run(["plan", *FIXED, *settings, "plan.budget_gpus=20"]) == 0
    proposed = capsys.readouterr().out.split("proposed for 20 GPUs")[1]
    assert "cluster.learner_ranks=1 grpo.attempts_in_flight=null" in proposed
    assert "left over          18 GPUs, which would make a step shorter by less than 2%" in proposed
    assert "fewer learner ranks hold more each" in proposed


def test_what_is_left_over_because_nothing_of_use_fits_into_it_is_said_to_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["plan", *FIXED, "cluster.roles.generator.gpus=4", "plan.budget_gpus=8"]) == 0
    proposed = capsys.readouterr().out.split("proposed for 8 GPUs")[1]
    assert (
        "left over          1 GPU, into which nothing fits that would help: one more generator takes 4 GPUs\n"
        in proposed
    )
    assert "2%" not in proposed


def test_what_money_leaves_over_is_said_in_figures_that_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", *FIXED, "plan.usd_per_gpu_hour=3", "plan.budget_usd_per_hour=20"]) == 0
    proposed = capsys.readouterr().out.split("proposed for 6.67 GPUs: ")[1]
    assert "left over          1.67 GPUs, which" in proposed


def test_a_pool_that_never_rests_is_idle_for_nothing_and_not_for_less(capsys: pytest.CaptureFixture[str]) -> None:
    settings = [
        "plan.steps=4",
        "plan.draw={median_s: 5.0}",
        "plan.engine={batch: 64}",
        "plan.reward={batch: 64}",
        "grpo.groups_per_step=4",
        "grpo.group_size=6",
        "grpo.max_staleness=2",
    ]
    assert cli.run(["plan", *settings]) == 0
    assert ", generators 0%, " in capsys.readouterr().out, "sums of floats make it a little less"


def test_a_budget_without_a_price_is_refused() -> None:
    with pytest.raises(ConfigError, match="any number of GPUs costs nothing"):
        plan.run(load.load([*FIXED, "plan.usd_per_gpu_hour=0", "plan.budget_usd_per_hour=5"]))


def test_a_plan_says_which_settings_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", *FIXED]) == 0
    plain = capsys.readouterr().out
    assert "not modelled: lost attempts and their retries" in plain
    assert "only_useful" not in plain
    assert "agent.looks" not in plain
    settings = ["grpo.pictures.only_useful=true", "agent.looks=1", "cluster.rollout_concurrency=1"]
    assert cli.run(["plan", *FIXED, *settings]) == 0
    out = capsys.readouterr().out
    assert "step               26.0 s" in out, "a look costs a picture of 5 s and a turn of 2 s"
    assert "every answer is drawn, and no member waits for the others" in out
    assert "changed and drawn again: the most that it can take" in out
    assert "rollout workers take up 1 of up to 2 attempts" in out


def test_a_plan_for_a_hosted_generator_asks_for_its_latency(capsys: pytest.CaptureFixture[str]) -> None:
    hosted = [setting for setting in FIXED if not setting.startswith("plan.draw")]
    assert cli.run(["plan", *hosted, "cluster.roles.generator.gpus=0"]) == 0
    assert "state those of your service" in capsys.readouterr().out
    assert cli.run(["plan", *FIXED, "cluster.roles.generator.gpus=0"]) == 0
    assert "state those of your service" not in capsys.readouterr().out


def test_what_a_step_adds_to_the_defaults_is_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["grpo.pictures.samples=4", "grpo.oversample={groups: 1, members: 1}", "grpo.drop_flat_groups=false"]
    assert cli.run(["plan", *FIXED, *settings, "plan.flat_frac=0.9"]) == 0
    out = capsys.readouterr().out
    assert "1 group of 2, staleness 0, 4 pictures each, 1 spare group, 1 spare member a group\n" in out


def test_a_recorded_run_is_read_with_the_workers_that_it_had_and_not_with_those_that_are_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = [
        replace(grounded(turn(1.0, None), draw_s=5.0 * place, judge_s=0.0), seed=place) for place in range(1, 5)
    ]
    write_run(tmp_path, [(one, 100.0 + 5.0 * one.seed) for one in attempts], booked_s=[123.5, 153.5])
    load.write(load.load([*FIXED, "cluster.generator_workers=1", f"run_dir='{tmp_path}'"]), command="grpo")
    planned = [*FIXED, f"plan.recorded='{tmp_path}'", "cluster.generator_workers=4"]
    assert cli.run(["plan", *planned, "grpo.group_size=4", "cluster.learner_ranks=2"]) == 0
    out = capsys.readouterr().out
    assert f"of 4 attempts in {tmp_path}" in out
    assert "recorded with      1 rollout worker, 1 generator, 1 reward worker, 1 learner rank\n" in out
    assert "measured step      30.0 s\n" in out
    assert "this configuration: 1 rollout worker, 4 generators" in out
    assert "  step               9.5 s" in out, "1 s to search, 5 to draw, half of 6 to learn, 0.5 to publish"
