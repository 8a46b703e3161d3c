"""Judges that are retired, talk nonsense, drift or never answer: the run stops or the attempt is lost, nothing is scored."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.config.rewards import ChatServer, RewardConfig
from gen_searcher.errors import JudgeDrift, JudgeGone
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.groups import step_metrics
from gen_searcher.rewards.chat.image_judge import ChatImageJudge
from gen_searcher.rewards.chat.text_judge import ChatTextJudge
from gen_searcher.rewards.compose import compose
from gen_searcher.rewards.golden.calibration import check_judges
from gen_searcher.rewards.golden.cases import golden_set
from gen_searcher.testing.chat_server import (
    ChatReply,
    ChatRequest,
    GoldenModel,
    LocalChatServer,
    Model,
    completion,
    problem,
)
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.train.evaluate import DirectSearcher
from gen_searcher.train.grpo import step_batch
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.stream import Step
from gen_searcher.types import Group, StepReport, Task
from tests.faults.steps import (
    GROUPS,
    SIZE,
    KeepsGradients,
    KeepsRecords,
    LengthJudge,
    OnePicture,
    OneStored,
    Scripted,
    grpo_rules,
    run_steps,
)

pytestmark = pytest.mark.filterwarnings("default")


async def group_judged_by(
    folder: Path,
    model: Model,
    *,
    kind: str = "text",
    size: int = 3,
    tries: int = 1,
    asks: int = 1,
    timeout_s: float = 60,
) -> Group:
    """Attempts at one task; one judge is a chat model, the other one says 0.5."""
    store = ImageStore(folder)
    task = Task(id="t", prompt="a flag", target=store.put(Image.new("RGB", (32, 32), "blue")), meta={})
    async with LocalChatServer(model) as server:
        chat = ChatServer(base_url=server.base_url, model="m", tries=asks, timeout_s=timeout_s, retry_base_s=0.0)
        asked = ChatTextJudge(store=store, server=chat) if kind == "text" else ChatImageJudge(store=store, server=chat)
        other = FakeJudge(name="image" if kind == "text" else "text", scores={"t": 0.5})
        attempt = partial(
            run_attempt,
            searcher=DirectSearcher(),
            generator=OneStored(store),
            judges=[asked, other],
            compose=partial(compose, rules=RewardConfig(alpha=0.5)),
        )
        try:
            return await run_group(task, seed=1, version=0, rules=GroupRules(size=size, tries=tries), attempt=attempt)
        finally:
            await asked.close()


@pytest.mark.fault(35)
async def test_a_judge_that_is_retired_in_mid_step_stops_the_run_with_3_and_its_last_step_is_saved(
    tmp_path: Path,
) -> None:
    served = GROUPS * SIZE + 7
    asked = 0

    async def model(request: ChatRequest) -> ChatReply:
        nonlocal asked
        asked += 1
        if asked > served:
            return problem(404, code="model_not_found", message="The model `m` has been deprecated")
        return completion(json.dumps({"rationale": "r", "score": 0.25 * (asked % 5)}))

    store = ImageStore(tmp_path)
    recorder, learner = KeepsRecords(), KeepsGradients(store)
    async with LocalChatServer(model) as server:
        judge = ChatTextJudge(store=store, server=ChatServer(base_url=server.base_url, model="m"))
        attempt = partial(
            run_attempt,
            searcher=Scripted(OnePicture(store)),
            generator=OneStored(store),
            judges=[LengthJudge("image"), judge],
            compose=partial(compose, rules=RewardConfig(alpha=0.5)),
        )
        try:
            with pytest.raises(JudgeGone, match="is not served") as caught:
                await run_steps(
                    grpo_rules(OutageRules(max_lost_frac=0.3), steps=3),
                    attempt,
                    learner=learner,
                    recorder=recorder,
                    truth=store.put(Image.new("RGB", (32, 32), "blue")),
                )
        finally:
            await judge.close()
    assert caught.value.exit_code == 3
    assert recorder.stopped_after == [1]
    assert len(learner.gradients) == 1
    assert all(len(attempt.judgements) == 2 for group in recorder.groups for attempt in group.attempts)
    assert [group.lost for group in recorder.groups] == [()] * len(recorder.groups)


NONSENSE = {
    "prose": "I would give this picture a solid 1.0!",
    "half a JSON": '{"rationale": "it is", "sco',
    "extra key": '{"rationale": "r", "score": 1, "confidence": 0.9}',
    "off the scale": '{"rationale": "r", "score": 2}',
    "between the levels": '{"rationale": "r", "score": 0.6}',
    "not a number": '{"rationale": "r", "score": NaN}',
    "text for a number": '{"rationale": "r", "score": "0.5"}',
    "nothing for a number": '{"rationale": "r", "score": null}',
    "a list": '[{"rationale": "r", "score": 1}]',
    "the score twice": '{"rationale": "r", "score": true}',
}
IMAGE_NONSENSE = {
    "contradicts itself": '{"rationale": "r", "faithfulness": 1, "visual_correctness": 1, "text_accuracy": 0.5, '
    '"text_accuracy_na": true, "aesthetics": 1}',
    "a dimension is missing": '{"rationale": "r", "faithfulness": 1, "visual_correctness": 1, "aesthetics": 1}',
    "only text may not apply": '{"rationale": "r", "faithfulness": null, "visual_correctness": 1, '
    '"text_accuracy": null, "aesthetics": 1}',
    "minus one": '{"rationale": "r", "faithfulness": -1, "visual_correctness": 1, "text_accuracy": 1, "aesthetics": 1}',
}


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("kind", "said"),
    [("text", said) for said in NONSENSE.values()] + [("image", said) for said in IMAGE_NONSENSE.values()],
    ids=[*NONSENSE, *IMAGE_NONSENSE],
)
async def test_a_verdict_that_is_none_is_asked_again_then_lost_and_counted(
    tmp_path: Path, kind: str, said: str
) -> None:
    asked = 0

    async def model(request: ChatRequest) -> ChatReply:
        nonlocal asked
        asked += 1
        return completion(said)

    group = await group_judged_by(tmp_path, model, kind=kind, size=2, asks=2)
    assert (group.attempts, group.rewards) == ((), ())
    assert [lost.stage for lost in group.lost] == ["judge", "judge"]
    assert asked == 4, "two members, each asked about twice"
    values = step_metrics([group], [], StepReport(loss=0.0, grad_norm=0.0, metrics={}))
    assert values["lost/judge_count"] == 2
    assert "reward/mean" not in values


@pytest.mark.fault(36)
async def test_nonsense_that_is_mended_by_asking_again_is_scored_with_the_verdict_alone(tmp_path: Path) -> None:
    async def model(request: ChatRequest) -> ChatReply:
        is_first_try = request.body["seed"] == 0
        return completion("well" if is_first_try else '{"rationale": "r", "score": 1}')

    group = await group_judged_by(tmp_path, model, size=3, asks=2)
    assert (group.rewards, group.lost) == ((0.75, 0.75, 0.75), ())


@pytest.mark.fault(37)
async def test_a_chat_judge_whose_model_changes_silently_fails_the_golden_set_and_stops_the_run(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    sound = GoldenModel(store)
    is_changed = False

    async def model(request: ChatRequest) -> ChatReply:
        if not is_changed:
            return await sound(request)
        return completion(json.dumps({"rationale": "All fine.", "score": 1}))

    part = golden_set().spread(8)
    async with LocalChatServer(model) as server:
        judge = ChatTextJudge(store=store, server=ChatServer(base_url=server.base_url, model="m"))
        try:
            await check_judges([judge], part, store, min_kappa=0.85)
            is_changed = True
            with pytest.raises(JudgeDrift, match="kappa") as caught:
                await check_judges([judge], part, store, min_kappa=0.85)
        finally:
            await judge.close()
    assert caught.value.exit_code == 3


@pytest.mark.fault(37)
async def test_drift_that_is_found_after_a_step_leaves_that_step_saved(tmp_path: Path) -> None:
    class Drifts(KeepsRecords):
        async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
            await super().after_step(step, taken, report)
            if step == 2:
                raise JudgeDrift("kappa 0.4; the bound is 0.85")

    store = ImageStore(tmp_path)
    recorder, learner = Drifts(), KeepsGradients(store)
    attempt = partial(
        run_attempt,
        searcher=Scripted(OnePicture(store)),
        generator=OneStored(store),
        judges=[LengthJudge("image"), LengthJudge("text")],
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
    )
    with pytest.raises(JudgeDrift):
        await run_steps(
            grpo_rules(OutageRules(max_lost_frac=0.3), steps=5), attempt, learner=learner, recorder=recorder, truth=None
        )
    assert recorder.stopped_after == [2]
    assert len(learner.gradients) == 2


@pytest.mark.fault(38)
@pytest.mark.parametrize("slow", [1, 2, 3])
async def test_members_whose_judge_times_out_are_lost_and_the_rest_has_finite_advantages(
    tmp_path: Path, slow: int
) -> None:
    asked = 0

    async def model(request: ChatRequest) -> ChatReply:
        nonlocal asked
        asked += 1
        number = asked
        if number <= slow:
            await asyncio.Event().wait()
        return completion(json.dumps({"rationale": "r", "score": 0.25 * number}))

    group = await group_judged_by(tmp_path, model, size=3, timeout_s=0.5)
    assert len(group.attempts) == 3 - slow
    assert [lost.stage for lost in group.lost] == ["judge"] * slow
    assert all("no answer within 0.5 s" in lost.error for lost in group.lost)
    # scores 0.5 and 0.75 of the text judge, halved: 0.0884 apart from their mean in units of their spread
    expected = {1: [-0.70710678, 0.70710678], 2: [0.0], 3: []}[slow]
    assert sorted(attempt_advantages(group, DEFAULT_OBJECTIVE)) == pytest.approx(expected, abs=2e-5)
    assert step_batch([group], grpo_rules(OutageRules(max_lost_frac=0.3))).samples == 3 - slow
