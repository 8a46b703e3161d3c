from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from gen_searcher.agent.render import Renderer
from gen_searcher.bench.journal import Journal
from gen_searcher.bench.knowgen import KnowgenFiles
from gen_searcher.bench.pictures import PictureFiles
from gen_searcher.config.data import SplitConfig
from gen_searcher.data.card import make_card, write_card
from gen_searcher.data.export import export
from gen_searcher.data.rows import Placed, Reject, SplitName, StageName, Words
from gen_searcher.data.sharegpt import PictureRules, is_sharegpt, read_sharegpt
from gen_searcher.data.split import split, split_of
from gen_searcher.data.stage import DataFolder, Inputs, Located, write_stage
from gen_searcher.data.tasks import load_tasks
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Facts
from tests.data.pipeline_parts import lines, photo, verified

RENDERER = Renderer.over_bytes()


def placed(store: ImageStore, row_id: str, where: SplitName, seed: int) -> Placed:
    row = verified(store.put(photo(seed)), row_id)
    proposal = replace(row.proposal, facts=Facts(caption="Warsaw"))
    return Placed(proposal=proposal, work=row.work, picture=row.picture, verdict=row.verdict, split=where)


def test_each_row_falls_where_its_id_says_and_more_rows_move_none(tmp_path: Path) -> None:
    cfg = SplitConfig(sft=0.5, rl=0.3)
    fell = Counter(split_of(f"row-{number}", cfg) for number in range(4000))
    assert fell["sft"] / 4000 == pytest.approx(0.5, abs=0.03)
    assert fell["rl"] / 4000 == pytest.approx(0.3, abs=0.03)
    ref = ImageStore(tmp_path / "images").put(photo())
    folder = DataFolder(root=tmp_path / "data")

    def places(count: int) -> dict[object, object]:
        rows = [Located(file="u", line=at, value=verified(ref, f"row-{at}")) for at in range(count)]
        split(Inputs(rows=tuple(rows)), cfg, folder=folder)
        return {row["proposal"]["id"]: row["split"] for row in lines(folder.rows(StageName.SPLIT))}  # pyright: ignore

    few, many = places(20), places(60)
    assert len(few) == 20
    assert few.items() <= many.items()
    assert set(few.values()) == {"sft", "rl", "heldout"}
    with pytest.raises(ValidationError, match=r"sft=0\.8 and rl=0\.3 are more than 1"):
        SplitConfig(sft=0.8, rl=0.3)


def test_the_files_are_what_training_and_the_benchmark_read(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    folder = DataFolder(root=tmp_path / "data")
    bad = placed(store, "bad", "sft", 9)
    bad = replace(bad, work=replace(bad.work, messages=(*bad.work.messages, Words(role="user", content="<image>"))))
    rows = [
        placed(store, "s1", "sft", 1), placed(store, "s2", "sft", 2), bad,
        placed(store, "r1", "rl", 3), placed(store, "h1", "heldout", 4),
    ]  # fmt: skip
    located = tuple(Located(file="p", line=at, value=row) for at, row in enumerate(rows, start=1))
    report = export(Inputs(rows=located), folder=folder, store=store)
    assert (report.taken, report.made, report.rejected) == (5, 4, {"unwritable": 1})

    out = folder.export
    assert is_sharegpt(out / "sft.jsonl")
    samples = read_sharegpt(
        out / "sft.jsonl", renderer=RENDERER, pictures=PictureRules(store=store, max_pixels=160_000)
    )
    trained = [
        RENDERER.text([t for t, on in zip(one.sample.token_ids, one.sample.loss_mask, strict=True) if on])
        for one in samples
    ]
    assert len(trained) == 2
    assert trained[0].count("<|im_end|>") == 2
    assert '"gen_prompt": "a flag"' in trained[0]

    other = ImageStore(tmp_path / "other")
    (task,) = load_tasks(out / "rl.jsonl", other)
    assert (task.id, task.target, task.facts.caption) == ("r1", rows[3].picture.image, "Warsaw")
    assert [one.id for one in load_tasks(out / "heldout.jsonl", other)] == ["h1"]
    with_files = Journal(tmp_path / "files.jsonl")
    found = KnowgenFiles(PictureFiles(other, with_files), other).tasks([out / "knowgen.json"])
    with_files.close()
    assert [(one.id, one.target, one.meta["category"]) for one in found.tasks] == [
        ("1", rows[4].picture.image, "geography")
    ]
    assert found.problems == ()
    published = json.loads((out / "rl_published.json").read_text())
    assert [set(row) for row in published] == [{"id", "prompt", "meta", "gt_image", "source_id"}]
    assert [one.id for one in load_tasks(out / "rl_published.json", other)] == ["1"]


def test_the_card_counts_licences_rejections_models_and_money(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    folder = DataFolder(root=tmp_path / "data")
    rows = [placed(store, "s1", "sft", 1), placed(store, "r1", "rl", 2), placed(store, "r2", "rl", 3)]
    no = Reject(stage="verify", id="<x>", reason="low_safety", details="a | b", file="drawn.jsonl", line=4)
    write_stage(folder, StageName.VERIFY, [b"{}"] * 3, [no], taken=4)
    located = tuple(Located(file="p", line=at, value=row) for at, row in enumerate(rows))
    inputs = Inputs(
        rows=tuple(
            Located(file=one.file, line=one.line, value=verified(one.value.picture.image, one.value.proposal.id))
            for one in located
        )
    )
    split(inputs, SplitConfig(sft=0.5, rl=0.5), folder=folder)
    export(Inputs(rows=located), folder=folder, store=store)
    licences = {"http://geography.mini.web/poland": "CC BY-SA 4.0"}
    card = make_card(folder, licence_of=lambda url: licences.get(url, ""))
    assert sum(card.rows.values()) == 3
    assert card.request_licences == {"CC0": 3}
    assert card.evidence_licences == {"CC BY-SA 4.0": 3}
    assert card.models["teacher"] == {"a script": 3}
    assert card.models["judge"] == {"image: m-1": 3}
    assert {one.stage: dict(one.rejected) for one in card.stages} == {
        "verify": {"low_safety": 1},
        "split": {},
        "export": {},
    }
    assert set(card.files) == {"sft.jsonl", "rl.jsonl", "heldout.jsonl", "rl_published.json", "knowgen.json"}
    path = write_card(folder, card)
    text = path.read_text()
    assert "| verify | low_safety | 1 |" in text
    assert "| verify | low_safety | <x> | drawn.jsonl:4 | a \\| b |" in text
    page = (folder.root / "card.html").read_text()
    assert "&lt;x&gt;" in page
    assert "http" not in page.split("</style>")[0]
    assert json.loads((folder.root / "card.json").read_text())["trajectories"]["turns"] == 2.0
