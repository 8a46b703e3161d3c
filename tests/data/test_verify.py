from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.config.data import VerifyConfig
from gen_searcher.data.rows import Drawn, StageName, Step
from gen_searcher.data.stage import DataFolder, Inputs, Located, read_stage, run_stage
from gen_searcher.data.verify import VERIFIED, conflict, merged_scores, needs_search, verify_stage
from gen_searcher.errors import ConfigError, JudgeUnable
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.types import Grounding, ImageRef, Judgement, Reference, Task, ToolKind, Trajectory
from tests.data.pipeline_parts import drawn, judgement, lines, photo, proposal, store, work

REF = ImageRef(sha256="a" * 64, width_px=8, height_px=8)
FLOORS = {"correctness": 0.5, "legibility": 0.5}


def test_what_a_tool_brought_and_the_request_does_not_say_needs_a_search() -> None:
    assert needs_search("Draw the capital of Poland.", work("the word Warsaw")) == 1.0
    assert needs_search("Draw Warsaw.", work("the word Warsaw")) == 0.0
    assert needs_search("Draw the capital of Poland.", work("a grey town")) == 0.0
    shown = Reference(img_id="IMG_001", note="", title="", url="", page_url="", image=REF)
    seen = replace(work("a grey town"), grounding=Grounding(gen_prompt="a grey town", references=(shown,)))
    assert needs_search("Draw it.", seen) == 1.0


def test_results_that_contradict_each_other_are_found() -> None:
    two = "<tool_response>\nCapital of Poland: Warsaw. Currency of Poland: Zloty.\n</tool_response>"
    assert conflict(work(seen=two)) is None
    bad = two.replace("Currency of Poland: Zloty", "Capital of Poland: Lodz")
    assert conflict(work(seen=bad)) == "Capital of Poland is 'Warsaw' and 'Lodz'"


def test_of_several_scores_of_one_thing_the_lowest_counts() -> None:
    row = drawn(REF)
    image = judgement(0.7, visual_correctness=0.75, text_accuracy=None, faithfulness=1.0, aesthetics=0.5)
    data = judgement(0.5, "data", correctness=0.5, needs_search=0.25, safety=1.0, legibility=1.0)
    text = judgement(0.25, "text", caption=0.0, style=0.5)
    assert merged_scores(row, [image, data, text]) == {
        "needs_search": 0.25, "correctness": 0.5, "legibility": 1.0, "faithfulness": 1.0, "aesthetics": 0.5,
        "safety": 1.0, "text": 0.25,
    }  # fmt: skip


async def verdicts(folder: Path, rows: list[Drawn], judge: FakeJudge, cfg: VerifyConfig) -> dict[str, tuple[str, str]]:
    """Reason and details of each rejected row, by id."""
    inputs = Inputs(rows=tuple(Located(file="d.jsonl", line=at, value=row) for at, row in enumerate(rows, start=1)))
    out = DataFolder(root=folder / "data")
    await run_stage(verify_stage([judge], cfg, who="me"), inputs, out, concurrency=4)
    found = lines(out.rejects(StageName.VERIFY))
    return {str(one["id"]): (str(one["reason"]), str(one["details"])) for one in found}


async def test_every_fault_has_a_reason_of_its_own(tmp_path: Path) -> None:
    ref = store(tmp_path).put(photo())
    failed = (Step(tool="search", kind=ToolKind.FAILED), Step(tool="browse", kind=ToolKind.OK))
    hostile = (Step(tool="browse", kind=ToolKind.OK, canaries=("override", "role")),)
    torn = "<tool_response>\nYear of X: 1. Year of X: 2.\n</tool_response>"
    rows = [
        drawn(ref, "fine"),
        drawn(ref, "long", work=work("x" * 50)),
        drawn(ref, "down", work=work(steps=failed)),
        drawn(ref, "attacked", work=work(steps=hostile)),
        drawn(ref, "torn", work=work(seen=torn)),
        drawn(ref, "rude", proposal=proposal("rude", "Draw the Gore.")),
    ]
    judge = FakeJudge(
        scores={row.proposal.id: 1.0 for row in rows}, parts={"visual_correctness": 1.0, "text_accuracy": None}
    )
    cfg = VerifyConfig(
        floors={**FLOORS, "safety": 1.0}, max_grounding_chars=40, max_failed_calls=0.4, blocked_words=("gore",)
    )
    found = await verdicts(tmp_path, rows, judge, cfg)
    assert {row: reason for row, (reason, _) in found.items()} == {
        "long": "long_grounding",
        "down": "failed_searches",
        "attacked": "injection",
        "torn": "conflicting_results",
        "rude": "low_safety",
    }
    assert found["attacked"][1] == "a page shows the signs override, role"
    assert found["rude"][1] == "0.00 < 1: holds 'gore'"


async def test_a_floor_moves_without_asking_a_judge_again_and_names_the_judges_words(tmp_path: Path) -> None:
    ref = store(tmp_path).put(photo())
    judge = FakeJudge(scores={"a": 0.6}, parts={"visual_correctness": 0.6})
    strict = await verdicts(tmp_path, [drawn(ref)], judge, VerifyConfig(floors={"correctness": 0.7}))
    assert strict == {"a": ("low_correctness", "0.60 < 0.7: A fake judge: the score comes from a table.")}
    assert await verdicts(tmp_path, [drawn(ref)], judge, VerifyConfig(floors={"correctness": 0.6})) == {}
    assert judge.asked == ["a"]
    with pytest.raises(ConfigError, match=r"data\.verify\.floors\.safety: nobody scores it \(there is correctness"):
        await verdicts(tmp_path, [drawn(ref)], judge, VerifyConfig(floors={"safety": 1.0}))


class Picky(FakeJudge):
    """Cannot take the tasks that its table does not hold."""

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        if task.id not in self._scores:
            raise JudgeUnable("status 413: too large")
        return await super().judge(task, trajectory, image)


async def test_a_row_that_a_judge_cannot_take_is_rejected_without_a_score(tmp_path: Path) -> None:
    ref = store(tmp_path).put(photo())
    judge = Picky(scores={"a": 1.0}, parts={"visual_correctness": 1.0})
    cfg = VerifyConfig(floors={"correctness": 0.0})
    found = await verdicts(tmp_path, [drawn(ref), drawn(ref, "large")], judge, cfg)
    assert found == {"large": ("impossible", "judge: status 413: too large")}
    kept = read_stage(
        DataFolder(root=tmp_path / "data").rows(StageName.VERIFY),
        VERIFIED,
        stage=StageName.DEDUPE,
        store=store(tmp_path),
    )
    assert [row.value.proposal.id for row in kept.rows] == ["a"]
