from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from gen_searcher.bench.journal import Journal
from gen_searcher.bench.pictures import PictureFiles
from gen_searcher.config.data import ProposeConfig, QaSource, RowsSource, Source, WorldSource, WriterSource
from gen_searcher.config.limits import LimitsConfig
from gen_searcher.config.rewards import ChatServer
from gen_searcher.data.chat import ChatModel
from gen_searcher.data.propose import orders, propose_stage
from gen_searcher.data.rows import StageName
from gen_searcher.data.stage import DataFolder, StageReport, run_stage
from gen_searcher.data.writer import Writer
from gen_searcher.image_store import ImageStore
from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion
from gen_searcher.tools.calling import Caller, LocalAuthority
from gen_searcher.tools.limits import Accounts
from gen_searcher.tools.meter import Meter
from gen_searcher.types import Task
from gen_searcher.world.families import GIVEN
from gen_searcher.world.plans import plan_for
from tests.data.pipeline_parts import lines, photo


async def proposed(
    folder: Path, sources: Mapping[str, Source], *, writer: Writer | None = None
) -> tuple[StageReport, list[dict[str, object]], list[dict[str, object]]]:
    """Report, rows, rejects."""
    out = DataFolder(root=folder / "data")
    with closing(Journal(folder / "files.jsonl")) as journal:
        found = orders(sources, PictureFiles(ImageStore(folder / "images"), journal))
    stage = propose_stage(ProposeConfig(), writer=writer, who="me", seed=0)
    report = await run_stage(stage, found, out, concurrency=2)
    return report, lines(out.rows(StageName.PROPOSE)), lines(out.rejects(StageName.PROPOSE))


async def test_the_worlds_requests_are_training_tasks_and_carry_their_licence(tmp_path: Path) -> None:
    source = WorldSource(kind="world", count=6)
    _, rows, rejects = await proposed(tmp_path, {"world": source})
    assert rejects == []
    assert [row["id"] for row in rows] == [f"world-{number:05d}" for number in range(1, 7)]
    for row in rows:
        task = Task(id="t", prompt="", target=None, meta=row["meta"])  # pyright: ignore[reportArgumentType]
        assert plan_for(task).given
        assert any(key.startswith(GIVEN) for key in task.meta)
    assert all(row["origin"]["licence"] for row in rows)  # pyright: ignore


async def test_published_rows_import_as_they_are_and_bad_ones_are_named(tmp_path: Path) -> None:
    photo().save(tmp_path / "gt.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = [
        {"id": 1, "prompt": "Draw the tower.", "meta": {"category": "Architecture", "difficulty": "easy"}, "gt_image": "gt.png"},
        {"id": 1, "prompt": "Draw it again.", "meta": {"category": "art"}},
        {"id": 2, "prompt": "Draw a cake.", "meta": {"category": "baking"}},
        {"id": 3, "prompt": "Draw him.", "meta": {"category": "art"}, "gt_image": "nowhere.png"},
        {"id": 4, "prompt": "Draw her.", "meta": {"category": "art"}, "gt_image": "broken.png"},
        {"id": 5, "prompt": "Steal it.", "meta": {"category": "art"}, "gt_image": "../../../../etc/passwd"},
        {"id": "../6", "prompt": "Go up.", "meta": {"category": "art"}},
        {"id": 7, "meta": {"category": "art"}},
        {"id": 8, "prompt": "Draw " + "very " * 200, "meta": {"category": "art"}},
    ]  # fmt: skip
    path = tmp_path / "rl_data.json"
    path.write_text(json.dumps(rows, indent=1))
    report, made, rejects = await proposed(tmp_path, {"rl": RowsSource(kind="rows", path=path, licence="CC BY 4.0")})
    assert [row["id"] for row in made] == ["rl-1"]
    assert made[0]["target"] is not None
    assert report.taken == 9
    assert sorted((str(one["reason"]), str(one["id"])) for one in rejects) == [
        ("bad_id", "../6"),
        ("duplicate_id", "rl-1"),
        ("long_prompt", "rl-8"),
        ("malformed", "7"),
        ("missing_picture", "3"),
        ("missing_picture", "4"),
        ("missing_picture", "5"),
        ("unknown_category", "rl-2"),
    ]
    text = path.read_text().splitlines()
    for one in rejects:
        if one["line"]:
            assert one["file"] == str(path)
            assert text[int(str(one["line"])) - 1].strip() == "{"
    assert any("leads out of the folder" in str(one["details"]) for one in rejects)


async def test_a_question_becomes_a_card_unless_its_answer_is_told_or_too_long(tmp_path: Path) -> None:
    rows = [
        {"question": "Which city is the seat of the court?", "answer": "The Hague"},
        {"question": "Is The Hague a city?", "answer": "The Hague"},
        {"question": "Who was it?", "answer": "x" * 50},
        {"question": "In which year?", "answer": 1950, "category": "History"},
        {"answer": "no question"},
    ]
    path = tmp_path / "qa.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    _, made, rejects = await proposed(tmp_path, {"qa": QaSource(kind="qa", path=path)})
    assert [(row["id"], row["facts"]["caption"], row["meta"]["category"]) for row in made] == [  # pyright: ignore
        ("qa-1", "The Hague", "news"),
        ("qa-4", "1950", "History"),
    ]
    assert [(one["line"], one["reason"]) for one in sorted(rejects, key=lambda one: int(str(one["line"])))] == [
        (2, "told_answer"),
        (3, "long_answer"),
        (5, "malformed"),
    ]


class Scribe:
    """Writes two requests a sheet; the first answer of all is broken JSON."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, request: ChatRequest) -> ChatReply:
        said = str(request.body["messages"][1]["content"])
        self.asked.append(said)
        if "<question>" in said:
            prompt = "Draw the port where it was signed." if "treaty" in said else "Draw Bruges."
            return completion(json.dumps({"requests": [self.one(prompt)] if "nothing" not in said else []}))
        category = said.split("Category: ")[1].split(".")[0]
        return completion(json.dumps({"requests": [self.one(f"Draw {category} {n}.") for n in range(2)]}))

    @staticmethod
    def one(prompt: str) -> dict[str, object]:
        return {"prompt": prompt, "shows": "The port.", "text": None, "difficulty": "hard"}


async def test_the_writer_thinks_up_requests_and_converts_questions_and_what_it_cost_is_known(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    qa = [("Where was the treaty signed?", "Bruges"), ("What is it?", "Bruges"), ("And nothing?", "42")]
    path.write_text("\n".join(json.dumps({"question": one, "answer": two}) for one, two in qa))
    sources: dict[str, Source] = {
        "mine": WriterSource(kind="writer", categories=("art", "film"), per_category=4, batch=2, licence="terms"),
        "qa": QaSource(kind="qa", path=path, convert="writer", category="history"),
    }
    scribe = Scribe()
    async with LocalChatServer(scribe) as server:
        settings = ChatServer(base_url=server.base_url, model="scribe", usd_per_m_input=1.0, usd_per_m_output=10.0)
        limits = LimitsConfig()
        caller = Caller(
            "chatwriter", stage="propose", authority=LocalAuthority(Accounts(config=limits, committed_usd={})),
            limits=limits, meter=Meter(), holder="test",
        )  # fmt: skip
        model = ChatModel(settings, caller, stage="propose")
        report, made, rejects = await proposed(tmp_path, sources, writer=Writer(model, temperature=1.0))
        await model.close()
        first = server.requests[0]
    assert [row["id"] for row in made] == [
        *(f"mine-{name}-{sheet}-{at}" for name in ("art", "film") for sheet in range(2) for at in range(2)),
        "qa-1",
    ]
    assert [(one["id"], one["reason"], one["line"]) for one in rejects] == [
        ("qa-2", "told_answer", 2),
        ("qa-3", "not_drawable", 3),
    ]
    assert report.cost_usd == pytest.approx(7 * (1200 * 1.0 + 80 * 10.0) / 1e6)
    assert first.body["temperature"] == 1.0
    assert first.body["response_format"]["json_schema"]["strict"] is True
    one = next(row for row in made if row["id"] == "qa-1")
    assert (one["facts"]["explanation"], one["meta"]["category"]) == ("The port.", "history")  # pyright: ignore
