"""The plug-ins of the README and of the pages in conf/ are real: taken from there, checked, built and used."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from gen_searcher import errors
from gen_searcher.config.plug import Plug
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import JudgeInvalid
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.trackers.run_info import RunInfo
from gen_searcher.protocols import ImageModel, ImageSearchProvider, Judge, SearchProvider, Tracker
from gen_searcher.tools.limited import price_usd
from gen_searcher.types import Grounding, Outcome, Reference, Task, Trajectory

ROOT = Path(__file__).parent.parent

Taken = Callable[[str, str], str]


@pytest.fixture
def taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Taken]:
    """Make the module of a page importable; gives its text."""
    modules: list[str] = []

    def take(page: str, module: str) -> str:
        code = re.search(rf"```python\n(# {module}\.py\n.*?)```", (ROOT / page).read_text(), re.DOTALL)
        assert code is not None
        (tmp_path / f"{module}.py").write_text(code[1])
        modules.append(module)
        return code[1]

    monkeypatch.syspath_prepend(tmp_path)
    yield take
    for module in modules:
        sys.modules.pop(module, None)


async def test_the_generator_of_the_readme_plugs_in(tmp_path: Path, taken: Taken) -> None:
    code = taken("README.md", "my_generators")
    assert len([line for line in code.splitlines() if line.strip()]) <= 16
    plug = Plug.model_validate({"_target_": "my_generators.Collage", "height_px": 32})
    plug.check()
    store = ImageStore(tmp_path / "images")
    colours = {"red": (255, 0, 0), "blue": (0, 0, 255)}
    references = tuple(
        Reference(img_id=n, note=n, title=n, url="u", page_url="p", image=store.put(Image.new("RGB", (8, 8), rgb)))
        for n, rgb in colours.items()
    )
    generator = StoredGenerator(cast("ImageModel", plug.build()), store=store)
    drawn = store.get(await generator.generate(Grounding(gen_prompt="both", references=references), seed=0))
    assert drawn.size == (64, 32)
    assert [drawn.getpixel((x, 16)) for x in (16, 48)] == [(255, 0, 0), (0, 0, 255)]


async def test_the_judge_of_its_page_plugs_in_and_gives_verdicts(tmp_path: Path, taken: Taken) -> None:
    taken("conf/judge/README.md", "my_judges")
    plug = Plug.model_validate({"_target_": "my_judges.Brightness", "white": 250})
    plug.check(["store"])
    store = ImageStore(tmp_path / "images")
    judge = cast("Judge", plug.build(store=store))
    task = Task(id="t", prompt="a grey card", target=None, meta={})
    answer = Trajectory(task_id="t", turns=(), outcome=Outcome.MALFORMED, grounding=None)
    said = await judge.judge(task, answer, store.put(Image.new("RGB", (8, 8), (125, 125, 125))))
    assert said.score == pytest.approx(0.5)
    assert (await judge.judge(task, answer, None)).score == 0.0
    with pytest.raises(JudgeInvalid, match="brighter than white=250"):
        await judge.judge(task, answer, store.put(Image.new("RGB", (8, 8), "white")))


async def test_the_search_provider_of_its_page_plugs_in_and_finds_pages_and_pictures(taken: Taken) -> None:
    taken("conf/search/README.md", "my_search")
    plug = Plug.model_validate({"_target_": "my_search.Shelf", "suffix": "!"})
    plug.check()
    shelf = plug.build()
    assert price_usd(shelf) == 0.002
    (hit,) = await cast("SearchProvider", shelf).search("Where is Graz?", limit=3)
    assert (hit.title, hit.url) == ("Graz!", "https://example.org/graz")
    assert await cast("SearchProvider", shelf).search("Linz", limit=3) == []
    (picture,) = await cast("ImageSearchProvider", shelf).search_images("Vienna, Graz", limit=1)
    assert picture.image_url == "https://example.org/vienna.png"


def test_the_tracker_of_its_page_plugs_in_and_writes_its_number(tmp_path: Path, taken: Taken) -> None:
    taken("conf/tracker/README.md", "my_trackers")
    plug = Plug.model_validate({"_target_": "my_trackers.RewardFile", "key": "reward/max"})
    plug.check(["run"])
    tracker = cast("Tracker", plug.build(run=RunInfo(id="r", name="r", folder=tmp_path, config={})))
    tracker.log(3, {"reward/max": 0.75, "reward/mean": 0.5})
    tracker.close()
    assert (tmp_path / "wall.txt").read_text() == "3 0.75\n"


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "launch/README.md",
        *sorted(f"conf/{path.parent.name}/README.md" for path in ROOT.glob("conf/*/README.md")),
    ],
)
def test_every_setting_group_and_class_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    for group, name in re.findall(r"`(generator|judge|search|tracker|trace|experiment|cluster)=(\w+)`", text):
        assert (ROOT / "conf" / group / f"{name}.yaml").is_file(), f"{group}={name}"
    words = set(re.findall(r"`([A-Z]\w+(?:Gone|Refused|Overloaded|Unavailable|Invalid|Down))`", text))
    assert words <= vars(errors).keys()


def test_every_page_is_named_in_the_readme_and_every_picture_of_a_page_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = [path for of in ("conf", "gen_searcher", "launch") for path in (ROOT / of).rglob("README.md")]
    assert len(pages) >= 10
    assert [path for path in pages if path.relative_to(ROOT).as_posix() not in readme] == []
    for page in [ROOT / "README.md", *pages]:
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / picture).is_file(), f"{page}: {picture}"


def test_the_readme_is_read_in_about_five_minutes() -> None:
    prose = re.sub(r"```.*?```|^\|.*$", "", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(prose.split()) < 1300
