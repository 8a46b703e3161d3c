"""The table of arms, by hand."""

from __future__ import annotations

import json

import pytest

from gen_searcher.bench.table import make_table, render
from gen_searcher.errors import ConfigError
from gen_searcher.types import Attempt, Grounding, Group, Judgement, Lost, Outcome, Reward, Task, Trajectory


def judgement(judge: str, score: float, parts: dict[str, float | None]) -> Judgement:
    return Judgement(judge=judge, score=score, parts=parts, rationale="", model="m", prompt_sha256="", latency_s=0.0)


def attempt(task: str, parts: dict[str, float | None] | None, text: float = 0.5) -> Attempt:
    grounding = None if parts is None else Grounding(gen_prompt="p", references=())
    return Attempt(
        trajectory=Trajectory(
            task_id=task,
            turns=(),
            outcome=Outcome.MALFORMED if parts is None else Outcome.GROUNDED,
            grounding=grounding,
        ),
        seed=0,
        image=None,
        judgements=() if parts is None else (judgement("image", 0.0, parts), judgement("text", text, {})),
        reward=Reward(total=0.0, parts={}),
    )


def group(task: str, *attempts: Attempt, lost: int = 0) -> Group:
    return Group(
        task=Task(id=task, prompt="p", target=None, meta={}),
        attempts=attempts,
        lost=(Lost(task_id=task, seed=0, stage="judge", error="x"),) * lost,
    )


def parts(f: float, v: float, t: float | None, a: float) -> dict[str, float | None]:
    return {"faithfulness": f, "visual_correctness": v, "text_accuracy": t, "aesthetics": a}


GOOD = [group(f"t{i}", attempt(f"t{i}", parts(1, 1, 1 if i % 2 else None, 1), text=1.0)) for i in range(10)]
POOR = [group(f"t{i}", attempt(f"t{i}", parts(1, i % 2, 0.5 if i % 2 else None, 0.5))) for i in range(10)]


def test_a_row_holds_the_aggregate_in_percent_with_its_interval() -> None:
    row = make_table({"poor": POOR}, seed=0)["arms"][0]
    assert row["k_score"] == pytest.approx(100 * (0.1 * 1 + 0.4 * 0.5 + 0.4 * 0.5 + 0.1 * 0.5))
    assert (row["faithfulness"], row["visual_correctness"], row["text_accuracy"], row["aesthetics"]) == (
        100,
        50,
        50,
        50,
    )
    assert row["text_reward"] == 0.5
    assert row["low"] is not None
    assert row["high"] is not None
    assert row["low"] < 55 < row["high"]
    assert (row["tasks"], row["attempts"], row["grounded"], row["lost"]) == (10, 10, 10, 0)


def test_no_grounding_is_zero_in_every_dimension_and_lost_tries_are_only_counted() -> None:
    groups = [group("a", attempt("a", parts(1, 1, 1, 1)), attempt("a", None), lost=2), group("b", lost=3)]
    row = make_table({"arm": groups}, seed=0)["arms"][0]
    assert row["k_score"] == pytest.approx(50)
    assert row["text_reward"] == 0.25
    assert (row["tasks"], row["attempts"], row["grounded"], row["lost"]) == (1, 2, 1, 5)


def test_an_arm_that_lost_everything_has_no_figures_and_is_still_valid_json() -> None:
    table = make_table({"good": GOOD, "gone": [group("t1", lost=3)]}, seed=0)
    assert table["arms"][1]["k_score"] is None
    assert table["arms"][1]["lost"] == 3
    assert table["paired"] == []
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_pairs_are_neighbours_and_last_against_first_on_shared_tasks() -> None:
    table = make_table({"a": POOR, "b": POOR[:8], "c": GOOD}, seed=0)
    assert [(row["better"], row["baseline"], row["tasks"]) for row in table["paired"]] == [
        ("b", "a", 8),
        ("c", "b", 8),
        ("c", "a", 10),
    ]
    same, _, last = table["paired"]
    assert (same["difference"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    assert last["difference"] == pytest.approx(45)
    assert last["low"] > 20


def test_named_pairs_replace_the_default_ones() -> None:
    table = make_table({"a": POOR, "b": GOOD, "c": GOOD}, seed=0, pairs=[("b", "a")])
    assert [(row["better"], row["baseline"]) for row in table["paired"]] == [("b", "a")]


def test_a_run_without_an_image_judge_cannot_make_a_table() -> None:
    grounded = attempt("t", parts(1, 1, 1, 1))
    blind = Attempt(
        trajectory=grounded.trajectory, seed=0, image=None, judgements=(), reward=Reward(total=0.0, parts={})
    )
    with pytest.raises(ConfigError, match="judge named 'image'"):
        make_table({"a": [group("t", blind)]}, seed=0)


def test_the_text_is_aligned() -> None:
    lines = render(make_table({"no-search": POOR, "sft+grpo": GOOD}, seed=0)).splitlines()
    assert lines[0].split() == [
        "arm",
        "K",
        "95",
        "%",
        "faithful",
        "correct",
        "text",
        "aesthetic",
        "text",
        "reward",
        "tasks",
        "grounded",
        "lost",
        "s/attempt",
        "USD/attempt",
    ]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4].startswith("sft+grpo - no-search: +45.00 K [")
