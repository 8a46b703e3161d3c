"""Generators that die, hang, refuse, mix up or vanish: what becomes of the attempts (cases 11, 33, 34, 35, 38)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.config.rewards import RewardConfig
from gen_searcher.drawing import Capability, DrawnHow, DrawOrder
from gen_searcher.engines.generator import Patience, StoredGenerator
from gen_searcher.errors import GeneratorGone, GeneratorRefused
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.train.evaluate import DirectSearcher
from gen_searcher.types import Group, Task

TASK = Task(id="t1", prompt="a flag", target=None, meta={})


async def group_with(
    model: ImageModel, folder: Path, *, able: Capability | None = None, deadline_s: float = 60.0, tries: int = 3
) -> Group:
    generator = StoredGenerator(model, ImageStore(folder), capability=able, patience=Patience(tries=1))
    judges = [FakeJudge(name="image", scores={"t1": 0.5}), FakeJudge(name="text", scores={"t1": 0.5})]
    attempt = partial(
        run_attempt,
        searcher=DirectSearcher(),
        generator=generator,
        judges=judges,
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
    )
    rules = GroupRules(size=3, tries=tries, deadline_s=deadline_s)
    return await run_group(TASK, seed=1, version=0, rules=rules, attempt=attempt)


class Hangs(FakeImageModel):
    """Never returns for its first call."""

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        if not self.calls:
            self.calls.append((prompt, 0, seed))
            await asyncio.Event().wait()
        return await super().draw(prompt, references, seed=seed)


class Raises(FakeImageModel):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        raise self.error


class MixesUp(FakeImageModel):
    """Answers every batch with somebody else's pictures."""

    def batch_shape(self, order: DrawOrder) -> str:
        return ""

    async def draw_batch(self, orders: Sequence[DrawOrder]) -> Mapping[str, Image.Image]:
        return {f"{order.id}0": Image.new("RGB", (8, 8)) for order in orders}


@pytest.mark.fault(11)
async def test_case_11_a_hung_drawing_is_lost_at_its_deadline_and_scored_by_nobody(tmp_path: Path) -> None:
    group = await group_with(Hangs(), tmp_path, deadline_s=2.0, tries=1)
    assert [lost.stage for lost in group.lost] == ["deadline"]
    assert group.rewards == (0.5, 0.5)


@pytest.mark.fault(33)
async def test_case_33_a_refusal_is_the_policys_outcome_and_nothing_is_lost(tmp_path: Path) -> None:
    group = await group_with(Raises(GeneratorRefused("not that")), tmp_path)
    assert (group.rewards, group.lost) == ((0.0, 0.0, 0.0), ())
    assert {attempt.drawing.how for attempt in group.attempts if attempt.drawing} == {DrawnHow.REFUSED}


@pytest.mark.fault(33)
async def test_case_33_a_picture_of_a_wrong_size_is_lost_not_scored(tmp_path: Path) -> None:
    group = await group_with(FakeImageModel(), tmp_path, able=Capability(sizes_px=((1024, 1024),)))
    assert group.attempts == ()
    assert len(group.lost) == 9
    assert "returned 64x80 px" in group.lost[0].error


@pytest.mark.fault(34)
async def test_case_34_pictures_of_other_requests_reach_no_attempt(tmp_path: Path) -> None:
    group = await group_with(MixesUp(), tmp_path, able=Capability(batch=3))
    assert group.attempts == ()
    assert all("the batch came back without" in lost.error for lost in group.lost)


@pytest.mark.fault(35)
async def test_case_35_a_model_that_was_retired_stops_the_run_with_exit_code_3(tmp_path: Path) -> None:
    with pytest.raises(GeneratorGone) as caught:
        await group_with(Raises(GeneratorGone("model_not_found")), tmp_path)
    assert caught.value.exit_code == 3
