"""Generators that die, hang, refuse, mix up or vanish: what becomes of the attempts (cases 11, 33, 34, 35, 38)."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from gen_searcher.config.rewards import RewardConfig
from gen_searcher.drawing import Capability, DrawnHow, DrawOrder
from gen_searcher.engines.generator import Patience, StoredGenerator
from gen_searcher.engines.hosted.reference import ReferenceService
from gen_searcher.errors import GeneratorGone, GeneratorRefused
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.tools.limited import close
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.train.evaluate import DirectSearcher
from gen_searcher.types import Group, Task
from tests.engines.hosted_services import serving

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
    try:
        return await run_group(TASK, seed=1, version=0, rules=rules, attempt=attempt)
    finally:
        await close(model)


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


def as_base64(picture: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return base64.b64encode(buffer.getvalue()).decode()


RED = Image.new("RGB", (64, 80), "red")
SENT: dict[str, tuple[str, int]] = {
    "a GIF": (as_base64(RED, "GIF"), 0),
    "half a PNG": (as_base64(Image.effect_noise((64, 80), 90), "PNG")[:2000], 0),
    "a web page": (base64.b64encode(b"<!doctype html><html>Sorry</html>").decode(), 0),
    "no base64": ("<<<>>>", 0),
    "a JPEG that is called a PNG": (as_base64(RED, "JPEG"), 3),
    "a black picture": (as_base64(Image.new("RGB", (64, 80)), "PNG"), 3),
    "the same picture for all": (as_base64(RED, "PNG"), 3),
}
"""What a service sends as its picture, and how many of three attempts are scored."""


@pytest.mark.fault(33)
@pytest.mark.parametrize("sent", SENT)
async def test_case_33_what_is_no_picture_is_lost_and_any_picture_is_judged_by_what_it_shows(
    tmp_path: Path, sent: str
) -> None:
    body, scored = SENT[sent]

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"success": True, "image": body})

    async with serving("/generate", answer) as root:
        group = await group_with(ReferenceService(url=root), tmp_path, tries=1)
    assert group.rewards == (0.5,) * scored
    assert [lost.stage for lost in group.lost] == ["generate"] * (3 - scored)
    assert len({attempt.image for attempt in group.attempts}) == min(1, scored)


@pytest.mark.fault(22, 35)
@pytest.mark.parametrize("status", [401, 402, 403, 404, 410])
async def test_case_35_a_service_that_turns_us_away_for_good_stops_the_run_and_scores_nothing(
    tmp_path: Path, status: int
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "incorrect key k-secret"}}, status=status)

    async with serving("/generate", answer) as root:
        with pytest.raises(GeneratorGone) as caught:
            await group_with(ReferenceService(url=root), tmp_path, tries=1)
    assert caught.value.exit_code == 3
    assert "k-secret" not in caught.value.message or status in (404, 410)


@pytest.mark.fault(33)
async def test_case_33_a_request_that_the_model_cannot_take_is_asked_for_once_and_lost(tmp_path: Path) -> None:
    model = FakeImageModel()
    group = await group_with(model, tmp_path, able=Capability(max_prompt_chars=3), tries=3)
    assert (group.attempts, len(group.lost), len(group.hopeless)) == ((), 3, 3)
    assert model.calls == []
