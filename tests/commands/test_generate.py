"""Without a picture the command says why and ends with a code that schedulers can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.commands.generate import no_picture, write
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.errors import GeneratorRefused, GeneratorUnavailable, WorldError
from gen_searcher.types import Grounding, Reference, Task
from gen_searcher.world import World

PAGE = World.load().pages["geography/poland"]
FLAG = World.load().entities["flag-pl"]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (GeneratorRefused("a weapon"), 2, "declined the grounding (a weapon); word the request anew"),
        (GeneratorUnavailable("no answer in 60 s"), 3, "the image model failed (no answer in 60 s)"),
        (WorldError("the actor died", "actor"), 3, "the image model failed (the actor died)"),
    ],
)
def test_a_declined_grounding_is_the_requests_fault_and_a_failure_is_not(
    error: WorldError, code: int, words: str
) -> None:
    told = no_picture(error)
    assert told.exit_code == code
    assert str(told) == f"no picture: {'the image model ' if code == 2 else ''}{words}"


def evidence(place: Workplace, *urls: str) -> dict[str, list[dict[str, str]]]:
    """What the picture carries whose grounding read these addresses and refers to the last one."""
    image = place.store.put(Image.new("RGB", (16, 16)))
    reference = Reference(img_id="IMG_001", note="", title="t", url=urls[-1], page_url=urls[0], image=image)
    grounding = Grounding(gen_prompt="g", references=(reference,), sources=urls)
    task = Task(id="t", prompt="draw", target=None, meta={})
    path = write(place.folder.root / "generate" / "t", place, task, grounding, image)
    beside = json.loads((path.parent / "grounding.json").read_text())
    with Image.open(path) as picture:
        inside = json.loads(str(picture.info["gen_searcher"]))
    assert inside == beside
    return beside


def opened(tmp_path: Path, *words: str) -> Workplace:
    return Workplace.open(load.load(["experiment=smoke", f"run_dir={tmp_path}/run", *words]))


def test_each_source_and_reference_of_the_embedded_world_carries_its_licence(tmp_path: Path) -> None:
    found = evidence(opened(tmp_path), PAGE.url, FLAG.picture_url)
    assert PAGE.licence == "flag-icons 7.5.0, MIT; countryinfo 1.0.1, MIT"
    assert found["sources"] == [
        {"url": PAGE.url, "licence": PAGE.licence},
        {"url": FLAG.picture_url, "licence": PAGE.licence},
    ]
    (reference,) = found["references"]
    assert (reference["url"], reference["licence"]) == (FLAG.picture_url, PAGE.licence)


def test_what_the_world_does_not_serve_has_no_known_licence_and_says_so(tmp_path: Path) -> None:
    found = evidence(opened(tmp_path), PAGE.url, "http://geography.mini.web/atlantis.webp", "https://example.org/a.png")
    assert [one["licence"] for one in found["sources"]] == [PAGE.licence, "unknown", "unknown"]
    assert found["references"][0]["licence"] == "unknown"


def test_on_the_open_web_nothing_is_known_even_at_an_address_that_looks_like_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERPER_API_KEY", "a-key")
    found = evidence(opened(tmp_path, "search=serper"), PAGE.url, FLAG.picture_url)
    assert {one["licence"] for one in found["sources"] + found["references"]} == {"unknown"}


def test_a_picture_that_is_shown_in_place_of_another_keeps_its_own_licence() -> None:
    world = World.load()
    element = next(one for one in world.entities.values() if one.kind == "element")
    twisted = world.serving(pages=world.pages, shown={"flag-pl": element.id})
    assert twisted.licence_of(FLAG.picture_url) == world.pages[element.page_id].licence
    assert twisted.licence_of(PAGE.url) == PAGE.licence
    assert PAGE.licence != world.pages[element.page_id].licence
