"""What `gen-searcher data` checks before it spends, and what its stages without workers do from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_searcher import cli
from gen_searcher.commands import preflight
from gen_searcher.config import load
from gen_searcher.data.verify import VERIFIED
from gen_searcher.image_store import ImageStore
from tests.data.pipeline_parts import lines, photo, verified

LIGHT = "generator={_target_: gen_searcher.testing.fake_image_model.FakeImageModel}"
"""Preflight imports the generator's class; the embedded painter's takes a second and is tested elsewhere."""


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("~data.propose.sources.world", "data.propose.sources: there is none"),
        ("data.propose.sources={x: {kind: rows, path: no.json}}", "data.propose.sources.x.path: there is no file no.json"),
        ("data.propose.sources={x: {kind: writer}}", "data.propose.writer: missing, and the source x asks the writer"),
        ("data.collect.teacher=chat", "data.collect.chat: missing, and data.collect.teacher=chat asks it"),
        ("data.dedupe.heldout=[gone.json]", "data.dedupe.heldout[0]: there is no file gone.json"),
        ("data.verify.judges={v: {_target_: gen_searcher.nothing.Judge}}", "data.verify.judges.v._target_: there is no module"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_before_anything_is_spent(
    tmp_path: Path, override: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.run(["data", "build", "experiment=laptop_data", f"run_dir='{tmp_path}/run'", LIGHT, override])
    assert code in (2, 3)
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_laptop_experiment_passes_preflight(tmp_path: Path) -> None:
    cfg = load.load(["experiment=laptop_data", f"run_dir='{tmp_path}/run'", LIGHT])
    assert list(preflight.problems(cfg, command="data build")) == []


def test_the_last_stages_run_alone_on_a_strangers_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    store = ImageStore(run / "images")
    rows = [
        VERIFIED.dump_json(verified(store.put(photo(seed)), f"row-{seed}", f"{'abcdefg'[seed] * 9} number {seed}"))
        for seed in range(6)
    ]
    mine = tmp_path / "mine.jsonl"
    mine.write_bytes(b"\n".join([*rows, b'{"proposal": 1}']))
    words = ("experiment=laptop_data", f"run_dir='{run}'", LIGHT, "data.dedupe.own_heldout=false")
    assert cli.run(["data", "dedupe", *words, f"data.rows={mine}"]) == 0
    assert cli.run(["data", "split", *words, "data.split.sft=0.5", "data.split.rl=0.5"]) == 0
    assert cli.run(["data", "export", *words]) == 0
    assert cli.run(["data", "card", *words]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("dedupe: 7 taken, 6 made, 1 rejected (1 malformed), 0.0000 USD")
    assert out[3] == str(run / "data" / "card.md")
    (no,) = lines(run / "data" / "rejects" / "dedupe.jsonl")
    assert (no["file"], no["line"]) == (str(mine), 7)
    exported = [len((run / "data" / "export" / name).read_text().splitlines()) for name in ("sft.jsonl", "rl.jsonl")]
    assert sum(exported) == 6
    card = json.loads((run / "data" / "card.json").read_text())
    assert card["rows"]["sft"] == exported[0]
    assert (run / "config" / "data.yaml").is_file()
