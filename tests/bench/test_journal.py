"""What was paid for is not paid for again, and only what a change touches is asked anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.bench.journal import (
    Journal,
    RememberedGenerator,
    RememberedJudge,
    RememberedSearcher,
    at_first,
    digest,
)
from gen_searcher.drawing import Drawing, DrawnHow
from gen_searcher.errors import GeneratorRefused, JudgeError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import (
    Attempt,
    Grounding,
    ImageRef,
    Judgement,
    Outcome,
    Reward,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)

TASK = Task(id="t", prompt="p", target=None, meta={"category": "art"})
GROUNDING = Grounding(gen_prompt="g", references=(), sources=("http://a",))
TURN = Turn(
    prompt_ids=(1, 2), completion_ids=(3,), logprobs=(-0.1,), versions=(0,),
    call=ToolCall(name="search", arguments={"queries": ["a"], "top_k": 3}),
    result=ToolResult(text="found", cost_usd=0.01),
)  # fmt: skip
FOUND = Trajectory(task_id="t", turns=(TURN,), outcome=Outcome.GROUNDED, grounding=GROUNDING)


class CountingSearcher:
    calls = 0

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        del task, seed
        self.calls += 1
        return FOUND


class CountingGenerator:
    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self.calls = 0

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        del seed
        self.calls += 1
        if grounding.gen_prompt == "bad":
            raise GeneratorRefused("not that")
        return self._store.put(Image.new("RGB", (8, 8), "red"))


class CountingJudge:
    name = "image"
    calls = 0

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        del task, trajectory, image
        self.calls += 1
        if self.calls == 1:
            raise JudgeError("busy")
        return Judgement(
            judge="image", score=0.25, parts={"a": None, "b": 0.5}, rationale="r", model="m", prompt_sha256="0",
            latency_s=0.1, cost_usd=0.02,
        )  # fmt: skip


async def test_a_search_is_remembered_over_a_restart_with_every_token(tmp_path: Path) -> None:
    inner = CountingSearcher()
    for _ in range(2):
        journal = Journal(tmp_path / "searches.jsonl")
        searcher = RememberedSearcher(inner, journal, who="policy 1")
        assert await searcher.search(TASK, seed=1) == FOUND
        assert await searcher.search(TASK, seed=1) == FOUND
        journal.close()
    assert inner.calls == 1


async def test_another_policy_seed_or_request_is_another_search(tmp_path: Path) -> None:
    inner, journal = CountingSearcher(), Journal(tmp_path / "searches.jsonl")
    other = Task(id="t", prompt="q", target=None, meta={})
    for who, task, seed in (("1", TASK, 1), ("2", TASK, 1), ("1", TASK, 2), ("1", other, 1)):
        await RememberedSearcher(inner, journal, who=who).search(task, seed=seed)
    assert inner.calls == 4
    journal.close()


async def test_a_picture_is_drawn_again_only_when_its_file_is_gone_and_a_refusal_stays(tmp_path: Path) -> None:
    store, journal = ImageStore(tmp_path / "store"), Journal(tmp_path / "pictures.jsonl")
    inner = CountingGenerator(store)
    generator = RememberedGenerator(inner, journal, who="g", store=store)
    image = await generator.generate(GROUNDING, seed=1)
    assert await generator.generate(GROUNDING, seed=1) == image
    assert inner.calls == 1
    store.path(image).unlink()
    assert await generator.generate(GROUNDING, seed=1) == image
    assert inner.calls == 2
    for _ in range(2):
        with pytest.raises(GeneratorRefused, match="not that"):
            await generator.generate(Grounding(gen_prompt="bad", references=()), seed=1)
    assert inner.calls == 3
    journal.close()


async def test_a_failure_of_the_judge_is_not_remembered_and_a_verdict_is(tmp_path: Path) -> None:
    inner, journal = CountingJudge(), Journal(tmp_path / "verdicts.jsonl")
    judge, image = RememberedJudge(inner, journal, who="j"), ImageRef(sha256="a", width_px=1, height_px=1)
    with pytest.raises(JudgeError):
        await judge.judge(TASK, FOUND, image)
    first = await judge.judge(TASK, FOUND, image)
    assert await judge.judge(TASK, FOUND, image) == first
    assert (first.parts, first.cost_usd) == ({"a": None, "b": 0.5}, 0.02)
    await judge.judge(TASK, FOUND, ImageRef(sha256="b", width_px=1, height_px=1))
    assert inner.calls == 3
    journal.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_half_written_last_line_is_asked_again_and_spoils_nothing(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for key in ("a", "b"):
        journal.put(key, b'{"x": "\xc3\xa9"}')
    journal.close()
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    assert (journal.get("a"), journal.get("b")) == ('{"x": "é"}', None)
    journal.put("b", b"2")
    journal.put("c", b"3")
    journal.close()
    journal = Journal(path)
    assert [journal.get(key) for key in ("a", "b", "c")] == ['{"x": "é"}', "2", "3"]
    journal.close()


def test_a_key_depends_on_every_part_and_on_their_borders() -> None:
    assert len({digest("a", "b"), digest("ab"), digest("a", "b", None), digest("b", "a")}) == 4


async def test_a_remembered_picture_keeps_the_time_that_it_took_when_it_was_drawn(tmp_path: Path) -> None:
    store, journal = ImageStore(tmp_path / "store"), Journal(tmp_path / "pictures.jsonl")
    generator = RememberedGenerator(CountingGenerator(store), journal, who="g", store=store)
    await generator.generate(GROUNDING, seed=1)
    took_s = generator.took_s(GROUNDING, seed=1)
    assert took_s is not None
    assert generator.took_s(GROUNDING, seed=2) is None
    grounded = Trajectory(task_id="t", turns=(), outcome=Outcome.GROUNDED, grounding=GROUNDING)
    remembered = Attempt(
        trajectory=grounded,
        seed=1,
        image=None,
        judgements=(),
        reward=Reward(total=0.0, parts={}),
        drawing=Drawing(how=DrawnHow.DRAWN, seed=1, latency_s=9.0),
    )
    shown = at_first(remembered, generator).drawing
    assert shown is not None
    assert shown.latency_s == took_s
    journal.close()
