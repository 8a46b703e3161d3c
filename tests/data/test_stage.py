from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from gen_searcher.data.propose import PROPOSAL
from gen_searcher.data.rows import Proposal, Reject, Rejected, StageName
from gen_searcher.data.stage import DataFolder, Inputs, Located, Made, Stage, read_stage, row_id, run_stage
from gen_searcher.errors import BudgetSpent, GeneratorInvalid, JudgeUnable, Outage, TooManyLost, WorldError
from gen_searcher.image_store import ImageStore
from tests.data.pipeline_parts import lines, photo, proposal

UNREADABLE = Reject(stage="collect", id="", reason="malformed", details="not JSON", file="in.jsonl", line=9)


class Shout:
    """Work that can be watched: says the request in capitals, and what its scripts say of some ids."""

    def __init__(self, **scripts: Callable[[], Exception]) -> None:
        self.scripts = scripts
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, row: Proposal) -> Made[Proposal]:
        self.asked.append(row.id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if row.id in self.scripts:
            raise self.scripts[row.id]()
        return Made(rows=(proposal(row.id, row.prompt.upper()),), cost_usd=0.5)


def stage(
    work: Shout, *, who: str = "me", sift: Callable[[Proposal], Reject | None] | None = None
) -> Stage[Proposal, Proposal]:
    return Stage(name=StageName.COLLECT, who=who, takes=PROPOSAL, gives=PROPOSAL, ident=row_id, work=work, sift=sift)


def inputs(*ids: str) -> Inputs[Proposal]:
    rows = [Located(file="in.jsonl", line=at, value=proposal(one)) for at, one in enumerate(ids, start=1)]
    return Inputs(rows=tuple(rows), rejects=(UNREADABLE,))


IDS = tuple("abcdef")


async def test_rows_come_out_in_order_and_every_other_has_a_reason(tmp_path: Path) -> None:
    work = Shout(b=lambda: Rejected("malformed", "no answer", 0.25), d=lambda: GeneratorInvalid("too long"))
    folder = DataFolder(root=tmp_path)
    report = await run_stage(stage(work), inputs(*IDS), folder, concurrency=2)
    assert [row["id"] for row in lines(folder.rows(StageName.COLLECT))] == ["a", "c", "e", "f"]
    rejects = lines(folder.rejects(StageName.COLLECT))
    assert [(one["id"], one["reason"], one["file"], one["line"]) for one in rejects] == [
        ("", "malformed", "in.jsonl", 9),
        ("b", "malformed", "in.jsonl", 2),
        ("d", "impossible", "in.jsonl", 4),
    ]
    assert (report.taken, report.made, report.rejected) == (7, 4, {"impossible": 1, "malformed": 2})
    assert report.cost_usd == 4 * 0.5 + 0.25
    assert work.most_at_once == 2


async def test_a_service_that_can_do_nothing_at_all_ends_the_stage_and_is_asked_again_once_mended(
    tmp_path: Path,
) -> None:
    folder = DataFolder(root=tmp_path)
    broken = Shout(a=lambda: JudgeUnable("status 400"), b=lambda: JudgeUnable("status 400"))
    with pytest.raises(TooManyLost, match=r"none of 2 rows can be worked on, .* is a \(judge: status 400\)") as raised:
        await run_stage(stage(broken), inputs("a", "b"), folder, concurrency=1, lost="reject")
    assert raised.value.exit_code == 3
    report = await run_stage(stage(Shout()), inputs("a", "b"), folder, concurrency=1)
    assert report.made == 2
    partly = await run_stage(stage(broken, who="another"), inputs("a", "b", "c"), folder, concurrency=1)
    assert (partly.made, partly.rejected) == (1, {"impossible": 2, "malformed": 1})
    again = Shout()
    await run_stage(stage(again, who="another"), inputs("a", "b", "c"), folder, concurrency=1)
    assert again.asked == []


@pytest.mark.parametrize("left", [0, 1, 2, 3])
async def test_a_stage_that_was_killed_at_any_line_does_the_rest_and_nothing_twice(tmp_path: Path, left: int) -> None:
    whole = DataFolder(root=tmp_path / "whole")
    await run_stage(stage(Shout()), inputs(*IDS), whole, concurrency=1)
    journal = whole.journal(StageName.COLLECT).read_bytes().splitlines(keepends=True)
    killed = DataFolder(root=tmp_path / "killed")
    killed.journal(StageName.COLLECT).parent.mkdir(parents=True)
    killed.journal(StageName.COLLECT).write_bytes(b"".join(journal[:left]) + journal[left][:-20])
    work = Shout()
    report = await run_stage(stage(work), inputs(*IDS), killed, concurrency=1)
    assert work.asked == list(IDS[left:])
    assert report.resumed == left
    for name in (StageName.COLLECT,):
        assert killed.rows(name).read_bytes() == whole.rows(name).read_bytes()
        assert killed.rejects(name).read_bytes() == whole.rejects(name).read_bytes()


async def test_another_setting_or_another_row_is_done_anew_and_nothing_else(tmp_path: Path) -> None:
    folder = DataFolder(root=tmp_path)
    await run_stage(stage(Shout()), inputs("a", "b"), folder, concurrency=1)
    again, other = Shout(), Shout()
    await run_stage(stage(again), inputs("a", "c"), folder, concurrency=1)
    await run_stage(stage(other, who="somebody else"), inputs("a", "c"), folder, concurrency=1)
    assert (again.asked, other.asked) == (["c"], ["a", "c"])


async def test_what_the_outside_spoils_stays_open_and_is_tried_by_the_next_start(tmp_path: Path) -> None:
    folder = DataFolder(root=tmp_path)
    broken = Shout(b=lambda: WorldError("no connection", "search"))
    with pytest.raises(
        Outage, match=r"collect: 1 of 3 rows are lost .* the first is b \(search: no connection\)"
    ) as raised:
        await run_stage(stage(broken), inputs("a", "b", "c"), folder, concurrency=1)
    assert raised.value.exit_code == 75
    assert not folder.rows(StageName.COLLECT).exists()
    report = await run_stage(stage(broken), inputs("a", "b", "c"), folder, concurrency=1, lost="reject")
    assert report.rejected == {"lost": 1, "malformed": 1}
    well = Shout()
    report = await run_stage(stage(well), inputs("a", "b", "c"), folder, concurrency=1)
    assert (well.asked, report.made) == (["b"], 3)


async def test_a_spent_budget_stops_what_is_under_way_and_keeps_what_was_paid_for(tmp_path: Path) -> None:
    folder = DataFolder(root=tmp_path)
    poor = Shout(c=lambda: BudgetSpent("the budget is spent"))
    with pytest.raises(BudgetSpent):
        await run_stage(stage(poor), inputs(*IDS), folder, concurrency=1)
    assert "f" not in poor.asked
    rich = Shout()
    await run_stage(stage(rich), inputs(*IDS), folder, concurrency=1)
    assert not {"a", "b"} & set(rich.asked)


async def test_another_threshold_does_no_work_again(tmp_path: Path) -> None:
    def none_of(letters: str) -> Callable[[Proposal], Reject | None]:
        return lambda row: Reject(stage="collect", id=row.id, reason="low", details="") if row.id in letters else None

    folder, work = DataFolder(root=tmp_path), Shout()
    strict = await run_stage(stage(work, sift=none_of("abc")), inputs("a", "b", "c", "d"), folder, concurrency=1)
    loose = await run_stage(stage(work, sift=none_of("a")), inputs("a", "b", "c", "d"), folder, concurrency=1)
    assert (strict.made, loose.made, len(work.asked)) == (1, 3, 4)
    assert (strict.rejected["low"], loose.rejected["low"]) == (3, 1)
    assert strict.cost_usd == loose.cost_usd == 2.0


def test_each_bad_row_of_a_file_is_named_with_its_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    there = store.put(photo())

    def row(row_id: object, **changed: object) -> str:
        value = json.loads(PROPOSAL.dump_json(proposal("x")))
        return json.dumps({**value, "id": row_id, **changed})

    picture = {"sha256": there.sha256, "width_px": 64, "height_px": 64}
    path = tmp_path / "proposals.jsonl"
    path.write_text(
        "\n".join(
            [
                row("good", target=picture),
                '{"id": "half", "prom',
                row("../../etc/passwd"),
                row("good"),
                row(7),
                row("lost", target={**picture, "sha256": "0" * 64}),
                row("sly", target={**picture, "sha256": "../" * 20 + "etc/pass"}),
                "[1]",
                row("fine"),
            ]
        )
    )
    found = read_stage(path, PROPOSAL, stage=StageName.COLLECT, store=store)
    assert [located.value.id for located in found.rows] == ["good", "fine"]
    assert {(one.line, one.reason) for one in found.rejects} == {
        (2, "malformed"),
        (3, "bad_id"),
        (4, "duplicate_id"),
        (5, "malformed"),
        (6, "missing_picture"),
        (7, "missing_picture"),
        (8, "malformed"),
    }
    assert {one.file for one in found.rejects} == {str(path)}
    told = {one.line: one.details for one in found.rejects}
    assert told[4] == "id: taken by line 1"
    assert "is no digest of a picture" in told[7]


def test_every_row_type_survives_a_file() -> None:
    one = proposal("a")
    assert TypeAdapter(Proposal).validate_json(PROPOSAL.dump_json(one)) == one
