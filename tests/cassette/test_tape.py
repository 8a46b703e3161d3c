"""One tape through all its modes, over every seam."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.cassette.seams import (
    TapedImageModel,
    TapedImageSearch,
    TapedJudge,
    TapedPictures,
    TapedReader,
    TapedSearch,
    TapedSummarizer,
)
from gen_searcher.cassette.tape import Identity, Question, Tape
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.drawing import Capability, DrawOrder
from gen_searcher.engines.batching import batched
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import ProviderDown, ReplayMiss, UserError
from gen_searcher.image_store import ImageStore
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.http import Fetched, Gone
from gen_searcher.tools.meter import Meter
from gen_searcher.types import Grounding, Outcome, Task, Trajectory
from gen_searcher.web import Hit, ImageHit, Page, Summary

WHO = Identity(provider="p", revision="1")
TASK = Task(id="t", prompt="p", target=None, meta={"k": "v"})
TRAJECTORY = Trajectory(
    task_id="t", turns=(), outcome=Outcome.GROUNDED, grounding=Grounding(gen_prompt="g", references=())
)


class Outside:
    """Every provider at once; counts what reaches it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_down = False

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.is_down:
            raise ProviderDown("down", "search")

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        self._ask(query)
        return [Hit(title="ü\ud7ff", url="http://a/", snippet="s")][:limit]

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        self._ask(query)
        return [ImageHit(title="t", image_url="http://a/i.png", page_url="")]

    async def read(self, url: str) -> Page | None:
        self._ask(url)
        if "inside" in url:
            raise Refused("address not allowed")
        return None if "gone" in url else Page(url=url, title="T", text="text\n\0\n")

    async def summarize(self, page: Page, *, query: str) -> Summary:
        self._ask(query)
        return Summary(text=f"about {query}", cost_usd=0.5)

    async def get(self, url: str, *, stage: str, types: Sequence[str]) -> Fetched:
        self._ask(url)
        if "gone" in url:
            raise Gone("there is no such page (404)")
        if "inside" in url:
            raise Refused("address not allowed")
        return Fetched(url=url, content_type="image/png", charset=None, body=bytes(range(256)) * 100)

    async def close(self) -> None:
        self.asked.append("closed")


class Bench:
    def __init__(self, path: Path, mode: str, outside: Outside | None = None, **settings: object) -> None:
        self.outside = outside or Outside()
        self.meter = Meter()
        self.tape = Tape(CassetteConfig(mode=mode, **settings), folder=path, meter=self.meter)  # type: ignore[arg-type]
        parts = (self.outside, self.tape, WHO)
        self.search, self.images, self.reader = TapedSearch(*parts), TapedImageSearch(*parts), TapedReader(*parts)
        self.summarizer, self.pictures = TapedSummarizer(*parts), TapedPictures(*parts)
        self.model = FakeImageModel()
        self.judge_inside = FakeJudge(scores={"t": 0.75}, parts={"x": None, "y": 0.5})
        self.draw = TapedImageModel(self.model, self.tape, WHO)
        self.judge = TapedJudge(self.judge_inside, self.tape, WHO)

    async def everything(self) -> list[object]:
        """One call through each seam."""
        answers: list[object] = [
            await self.search.search("q", limit=3),
            await self.images.search_images("q", limit=3),
            await self.reader.read("http://a/"),
            await self.reader.read("http://a/gone"),
            await self.summarizer.summarize(Page(url="u", title="t", text="x"), query="q"),
            await self.pictures.get("http://a/i.png", stage="s", types=("image/png",)),
            (await self.draw.draw("p", [Image.new("RGB", (3, 3), "red")], seed=1)).tobytes(),
            await self.judge.judge(TASK, TRAJECTORY, None),
        ]
        for refusing in (self.reader.read("http://inside/"), self.pictures.get("http://inside/", stage="s", types=())):
            with pytest.raises(Refused, match="address not allowed"):
                await refusing
        with pytest.raises(Gone):
            await self.pictures.get("http://a/gone", stage="s", types=())
        return answers

    @property
    def calls(self) -> int:
        return len(self.outside.asked) + len(self.model.calls) + len(self.judge_inside.asked)


async def test_live_keeps_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "c", "live")
    await bench.everything()
    await bench.everything()
    assert bench.calls == 22
    assert not (tmp_path / "c").exists()


async def test_a_second_run_pays_nothing_and_gets_the_same(tmp_path: Path) -> None:
    first = Bench(tmp_path, "record")
    recorded = await first.everything()
    first.tape.close()
    assert first.calls == 11
    assert {name: value.value for name, value in first.meter.take().items()} == {
        "tool/paid_calls": 9,
        "generate/paid_calls": 1,
        "judge/paid_calls": 1,
        "cassette/recorded_count": 11,
    }
    for mode in ("replay", "auto"):
        second = Bench(tmp_path, mode)
        replayed = await second.everything()
        assert second.calls == 0
        assert replayed[:4] == recorded[:4]
        assert replayed[5:] == recorded[5:]
        assert replayed[4] == Summary(text="about q", cost_usd=0.0)  # what is replayed costs nothing
        assert {name: value.value for name, value in second.meter.take().items()} == {"cassette/replayed_calls": 11}
        second.tape.close()


async def test_a_replay_without_the_answer_names_the_call_and_makes_none(tmp_path: Path) -> None:
    recorded = Bench(tmp_path, "record")
    await recorded.search.search("q", limit=3)
    recorded.tape.close()
    bench = Bench(tmp_path, "replay")
    with pytest.raises(ReplayMiss, match=r'search p \{"limit":3,"query":"other"\}') as miss:
        await bench.search.search("other", limit=3)
    assert miss.value.exit_code == 2
    assert bench.calls == 0


async def test_a_replay_miss_is_not_taken_for_a_fault_of_the_image_model(tmp_path: Path) -> None:
    Bench(tmp_path / "c", "record").tape.close()
    bench = Bench(tmp_path / "c", "replay")
    generator = StoredGenerator(bench.draw, ImageStore(tmp_path / "i"))
    with pytest.raises(ReplayMiss, match="drawing p"):
        await generator.generate(Grounding(gen_prompt="g", references=()), seed=1)


def test_a_replay_needs_a_cassette(tmp_path: Path) -> None:
    with pytest.raises(ReplayMiss, match="there is no cassette"):
        Bench(tmp_path, "replay")


async def test_an_outage_is_never_recorded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "auto")
    bench.outside.is_down = True
    with pytest.raises(ProviderDown):
        await bench.search.search("q", limit=3)
    bench.outside.is_down = False
    assert len(await bench.search.search("q", limit=3)) == 1
    assert bench.outside.asked == ["q", "q"]


async def test_record_asks_again_and_auto_does_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "record")
    for _ in range(2):
        await bench.search.search("q", limit=3)
    assert bench.outside.asked == ["q", "q"]
    bench = Bench(tmp_path, "auto")
    for query in ("q", "r", "r"):
        await bench.search.search(query, limit=3)
    assert bench.outside.asked == ["r"]


async def test_a_damaged_entry_is_asked_anew_and_mended_but_stops_a_replay(tmp_path: Path) -> None:
    first = Bench(tmp_path, "record")
    await first.pictures.get("http://a/i.png", stage="s", types=())
    first.tape.close()
    path = next(path for path in (tmp_path / "objects").rglob("*") if path.is_file())
    path.write_bytes(b"harm")
    replaying = Bench(tmp_path, "replay")
    with pytest.raises(ReplayMiss, match="is damaged"):
        await replaying.pictures.get("http://a/i.png", stage="s", types=())
    mending = Bench(tmp_path, "auto")
    body = (await mending.pictures.get("http://a/i.png", stage="s", types=())).body
    assert body == bytes(range(256)) * 100
    assert mending.meter.take()["cassette/damaged_count"].value == 1
    again = Bench(tmp_path, "replay")
    assert (await again.pictures.get("http://a/i.png", stage="s", types=())).body == body
    assert again.calls == 0


async def test_a_full_cassette_stops_a_recording_and_only_a_recording(tmp_path: Path) -> None:
    tiny = 10 / 2**20
    with pytest.raises(UserError, match=r"cassette\.mode=record, but an answer cannot be written") as full:
        await Bench(tmp_path / "a", "record", max_mib=tiny).search.search("q", limit=3)
    assert full.value.exit_code == 3
    bench = Bench(tmp_path / "b", "auto", max_mib=tiny)
    assert len(await bench.search.search("q", limit=3)) == 1
    assert bench.meter.take()["cassette/unrecorded_count"].value == 1


def test_a_key_says_what_was_asked_whom_and_of_which_revision() -> None:
    def key(**changes: object) -> str:
        fields = {"kind": "search", "who": WHO, "request": {"query": "q", "limit": 1}, **changes}
        return Question(**fields).key  # type: ignore[arg-type]

    assert key() == key(request={"limit": 1, "query": "q"})
    others = [
        key(kind="page"),
        key(who=Identity(provider="p", revision="2")),
        key(who=Identity(provider="o", revision="1")),
        key(request={"query": "q", "limit": 2}),
        key(request={"query": "Q", "limit": 1}),
    ]
    assert len({key(), *others}) == 6


def test_another_secret_is_the_same_provider_and_another_setting_is_not() -> None:
    def who(**keywords: object) -> Identity:
        return Identity.of(Plug.model_validate({"_target_": "a.b.Serper", **keywords}))

    assert who(key="env:A").provider == "serper"
    assert who(key="env:A") == who(key="file:/b")
    assert who(key="env:A", country="us") != who(key="env:A", country="de")


async def test_a_cache_of_pictures_outlives_the_run_and_keeps_nothing_else(tmp_path: Path) -> None:
    first = Bench(tmp_path, "auto", kinds=("drawing",))
    drawn = (await first.everything())[-2]
    first.tape.close()
    assert first.meter.take()["cassette/recorded_count"].value == 1
    second = Bench(tmp_path, "auto", kinds=("drawing",))
    again = await second.everything()
    assert (again[-2], second.calls) == (drawn, first.calls - 1)
    assert second.meter.take()["cassette/replayed_calls"].value == 1


async def test_what_is_not_on_tape_is_still_drawn_in_batches(tmp_path: Path) -> None:
    class Batches(FakeImageModel):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []

        def batch_shape(self, order: DrawOrder) -> str:
            return ""

        async def draw_batch(self, orders: Sequence[DrawOrder]) -> dict[str, Image.Image]:
            self.sizes.append(len(orders))
            return {order.id: await self.draw(order.prompt, order.references, seed=order.seed) for order in orders}

    model, able = Batches(), Capability(batch=4)
    tape = Tape(CassetteConfig(mode="auto"), folder=tmp_path / "c", meter=Meter())
    generator = StoredGenerator(
        TapedImageModel(batched(model, able), tape, WHO), ImageStore(tmp_path / "i"), capability=able
    )
    groundings = [Grounding(gen_prompt=f"g{n}", references=()) for n in range(4)]
    first = await asyncio.gather(*(generator.generate(grounding, seed=1) for grounding in groundings))
    assert sum(model.sizes) == 4
    fresh = StoredGenerator(
        TapedImageModel(batched(model, able), tape, WHO), ImageStore(tmp_path / "i"), capability=able
    )
    assert await asyncio.gather(*(fresh.generate(grounding, seed=1) for grounding in groundings)) == first
    assert sum(model.sizes) == 4
    tape.close()
