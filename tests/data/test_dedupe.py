from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.bench.journal import Journal
from gen_searcher.bench.pictures import PictureFiles
from gen_searcher.config.data import DedupeConfig
from gen_searcher.data.dedupe import Heldout, dedupe
from gen_searcher.data.heldout import read_heldout
from gen_searcher.data.rows import StageName, Verified
from gen_searcher.data.stage import DataFolder, Inputs, Located
from gen_searcher.errors import DataError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Task
from tests.data.pipeline_parts import lines, photo, verified

PROMPTS = (
    "Draw the flag of the country that the element Marie Curie found in 1898 is named for.",
    "A poster of the film that won the prize in the year when the tunnel was opened.",
    "Show the church in which the composer of the oratorio is buried, seen from the river.",
)


def sieve(
    folder: Path, rows: list[Verified], *heldout: Heldout, cfg: DedupeConfig | None = None
) -> tuple[list[object], dict[object, tuple[object, object]]]:
    """Ids that passed, and reason and details of each that did not."""
    inputs = Inputs(rows=tuple(Located(file="v.jsonl", line=at, value=row) for at, row in enumerate(rows, start=1)))
    out = DataFolder(root=folder / "data")
    store = ImageStore(folder / "images")
    asyncio.run(dedupe(inputs, heldout, cfg or DedupeConfig(), folder=out, store=store))
    kept = [row["proposal"]["id"] for row in lines(out.rows(StageName.DEDUPE))]  # pyright: ignore
    return kept, {one["id"]: (one["reason"], one["details"]) for one in lines(out.rejects(StageName.DEDUPE))}


def test_planted_duplicates_and_planted_leaks_are_caught_and_the_rest_passes(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    refs = [store.put(photo(seed)) for seed in range(8)]
    again = store.put(photo(0).resize((80, 80), Image.Resampling.LANCZOS))
    rows = [
        verified(refs[0], "first", PROMPTS[0]),
        verified(refs[1], "second", PROMPTS[1]),
        verified(refs[2], "reworded", PROMPTS[0].replace("Draw the flag", "Draw  THE Flag").removesuffix(".")),
        verified(again, "redrawn", "Something else altogether about a bird."),
        verified(
            refs[3], "leaked", "Show the church where the composer of the oratorio is buried, seen from the river"
        ),
        verified(store.put(photo(7).resize((90, 90))), "seen", "A lighthouse in the north of the island."),
        verified(refs[4], "third", "The machine that the two brothers flew, on the beach where they flew it."),
    ]
    held = Heldout(
        name="knowgen.json",
        tasks=[
            Task(id="k1", prompt=PROMPTS[2], target=None, meta={}),
            Task(id="k2", prompt="Draw nothing that is here.", target=refs[7], meta={}),
        ],
    )
    kept, no = sieve(tmp_path, rows, held)
    assert kept == ["first", "second", "third"]
    assert {row: reason for row, (reason, _) in no.items()} == {
        "reworded": "duplicate_prompt",
        "redrawn": "duplicate_picture",
        "leaked": "leak_prompt",
        "seen": "leak_picture",
    }
    assert no["reworded"][1] == "1.00 like that of first"
    assert str(no["leaked"][1]).endswith("that of k1 of knowgen.json")
    assert no["seen"][1] == "looks like that of k2 of knowgen.json"


def test_without_pictures_only_requests_are_compared(tmp_path: Path) -> None:
    ref = ImageStore(tmp_path / "images").put(photo())
    rows = [verified(ref, str(at), prompt) for at, prompt in enumerate(PROMPTS)]
    assert sieve(tmp_path, rows, cfg=DedupeConfig(picture_bits=None))[0] == ["0", "1", "2"]
    assert sieve(tmp_path, rows)[0] == ["0"]


def test_pictures_are_decoded_once_in_the_life_of_a_run(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    refs = [store.put(photo(seed)) for seed in range(3)]
    rows = [verified(ref, str(at), prompt) for at, (ref, prompt) in enumerate(zip(refs, PROMPTS, strict=True))]
    first = sieve(tmp_path, rows)
    for ref in refs:
        store.path(ref).unlink()
    assert sieve(tmp_path, rows) == first == (["0", "1", "2"], {})


def test_a_held_out_file_is_read_in_any_published_form_and_whole_or_not_at_all(tmp_path: Path) -> None:
    photo().save(tmp_path / "gt.png")
    knowgen, wise, half = (tmp_path / name for name in ("knowgen.json", "wise.json", "half.jsonl"))
    knowgen.write_text(
        json.dumps([{"id": 3, "prompt": "p", "gt_image": "gt.png"}, {"id": 4, "prompt": "q", "gt_image": "no"}])
    )
    wise.write_text(json.dumps([{"Prompt": "w", "prompt_id": 9}]))
    half.write_text('{"prompt": "x"}\n{"id": 2}\n')
    journal = Journal(tmp_path / "files.jsonl")
    files = PictureFiles(ImageStore(tmp_path / "images"), journal)
    first = read_heldout(knowgen, files)
    assert [(task.id, task.prompt, task.target is not None) for task in first.tasks] == [
        ("3", "p", True),
        ("4", "q", False),
    ]
    assert [(task.id, task.prompt) for task in read_heldout(wise, files).tasks] == [("9", "w")]
    with pytest.raises(DataError, match=r"half\.jsonl, line 2: no request"):
        read_heldout(half, files)
    journal.close()
