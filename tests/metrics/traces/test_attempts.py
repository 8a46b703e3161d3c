"""An attempt is one trace: with its tries, its losses, and nothing where nothing was done."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from gen_searcher.errors import CUT_OFF, GeneratorInvalid, WorldError
from gen_searcher.metrics.log_fields import log_fields
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.attempts import AttemptTrace
from gen_searcher.metrics.traces.spans import Recording, span
from gen_searcher.train.attempt import GroupRules, member_seeds, run_group, tried
from gen_searcher.train.tail import TailRules
from gen_searcher.types import Attempt, Outcome, Reward, Task, Trajectory, Turn
from tests.metrics.traces.recorder import Keeps, recorded

TASK = Task(id="t1", prompt="a prompt that nobody may read", target=None, meta={})
RULES = GroupRules(size=2, tries=3)
TURN = Turn(prompt_ids=(1, 2), completion_ids=(3, 4, 5), logprobs=(0.0, 0.0, 0.0), versions=(6, 6, 7))


async def scored(task: Task, *, seed: int) -> Attempt:
    with span("work"):
        await asyncio.sleep(0)
    trajectory = Trajectory(task_id=task.id, turns=(TURN,), outcome=Outcome.MALFORMED, grounding=None)
    return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=Reward(total=0.25, parts={}))


class Losing:
    """Loses the first tries, then scores."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        if self._errors:
            with span("work"):
                raise self._errors.pop(0)
        return await scored(task, seed=seed)


async def test_a_scored_attempt_is_one_trace_that_says_what_came_of_it_and_no_word_of_anybody() -> None:
    with recorded() as keeps, log_fields(command="grpo", step=4):
        await tried(TASK, seed=5, rules=RULES, make=partial(scored, TASK, seed=5))
    whole, one, work = keeps.spans
    assert (whole.name, one.name, work.name) == ("attempt", "try", "work")
    assert (whole.parent, one.parent, work.parent) == (None, whole.identity, one.identity)
    assert whole.attributes == {
        names.TASK: "t1",
        names.ATTEMPT_SEED: 5,
        names.COMMAND: "grpo",
        names.STEP: 4,
        names.TRIES: 1,
        names.OUTCOME: "malformed",
        names.TURNS: 1,
        names.TOOL_CALLS: 0,
        names.OUTPUT_TOKENS: 3,
        names.VERSION: 7,
        names.OLDEST_VERSION: 6,
        names.REWARD: 0.25,
    }
    assert [each.error for each in keeps.spans] == [None, None, None]
    assert whole.ends_ns is not None
    assert one.ends_ns is not None
    assert work.ends_ns is not None
    assert whole.begins_ns <= one.begins_ns <= work.begins_ns <= work.ends_ns <= one.ends_ns <= whole.ends_ns


async def test_a_lost_try_is_an_error_with_stage_and_reason_and_the_attempt_is_not_when_another_makes_it() -> None:
    with recorded() as keeps:
        made = await tried(
            TASK, seed=5, rules=RULES, make=partial(Losing(WorldError("no host", "browse")), TASK, seed=5)
        )
    assert made.made is not None
    first, second = keeps.named("try")
    assert first.error == "browse: no host"
    assert (first.attributes[names.STAGE], first.attributes[names.REASON]) == ("browse", "no host")
    assert (first.attributes[names.TRY], second.attributes[names.TRY]) == (1, 2)
    assert second.error is None
    (whole,) = keeps.named("attempt")
    assert whole.error is None
    assert whole.attributes[names.TRIES] == 2
    assert whole.attributes[names.REWARD] == 0.25
    assert {names.STAGE, names.REASON, names.ERROR_TYPE}.isdisjoint(whole.attributes)


async def test_an_attempt_without_hope_is_an_error_itself() -> None:
    with recorded() as keeps:
        await tried(TASK, seed=5, rules=RULES, make=partial(Losing(GeneratorInvalid("too long")), TASK, seed=5))
    (whole,) = keeps.named("attempt")
    assert whole.error == "generate: too long"
    assert whole.attributes[names.STAGE] == "generate"
    assert len(keeps.named("try")) == 1


async def test_a_try_past_its_deadline_is_lost_at_that_stage() -> None:
    async def hangs() -> Attempt:
        with span("work"):
            await asyncio.Event().wait()
        raise AssertionError

    with recorded() as keeps:
        await tried(TASK, seed=5, rules=GroupRules(size=1, tries=1, deadline_s=0.01), make=hangs)
    assert [each.error for each in keeps.named("try")] == ["deadline: no score after 0.01 s"]
    assert [each.error for each in keeps.named("work")] == ["CancelledError"]


async def test_a_member_that_is_given_up_says_so() -> None:
    async def work(task: Task, *, seed: int) -> Attempt:
        if seed == slow:
            with span("work"):
                await asyncio.Event().wait()
        return await scored(task, seed=seed)

    rules = GroupRules(size=3, tail=TailRules(members=2, wait_s=0.0))
    slow = member_seeds(9, rules=rules)[0]
    with recorded() as keeps:
        group = await run_group(TASK, seed=9, version=0, rules=rules, attempt=work)
    assert len(group.attempts) == 2
    (lost,) = [each for each in keeps.named("attempt") if each.error is not None]
    assert lost.attributes[names.ATTEMPT_SEED] == slow
    assert lost.attributes[names.STAGE] == CUT_OFF


async def test_an_attempt_that_was_kept_and_asks_nobody_leaves_no_trace() -> None:
    kept = await scored(TASK, seed=5)

    async def again() -> Attempt:
        return kept

    with recorded() as keeps:
        made = await tried(TASK, seed=5, rules=RULES, make=again)
    assert made.made is kept
    assert keeps.spans == []


async def test_a_loss_before_anybody_was_asked_is_recorded_all_the_same() -> None:
    async def loses() -> Attempt:
        raise WorldError("out of rollout workers", "actor")

    with recorded() as keeps:
        await tried(TASK, seed=5, rules=GroupRules(size=1, tries=1), make=loses)
    assert [(each.name, each.error) for each in keeps.spans] == [
        ("attempt", "actor: out of rollout workers"),
        ("try", "actor: out of rollout workers"),
    ]


async def test_a_bug_is_an_error_of_its_kind_and_goes_on() -> None:
    with recorded() as keeps, pytest.raises(ZeroDivisionError):
        await tried(TASK, seed=5, rules=RULES, make=partial(Losing(ZeroDivisionError("x")), TASK, seed=5))
    assert [each.error for each in keeps.spans] == ["ZeroDivisionError"] * 3


def taken(share: float) -> set[int]:
    return {seed for seed in range(1000) if Recording(recorder=Keeps(), share=share).takes("t1", seed)}


def test_the_share_is_picked_by_task_and_seed_and_a_larger_one_holds_a_smaller_one() -> None:
    assert taken(0.0) == set()
    assert taken(1.0) == set(range(1000))
    few, many = taken(0.2), taken(0.6)
    assert 150 < len(few) < 250
    assert 550 < len(many) < 650
    assert few < many
    assert few == taken(0.2)


async def test_of_an_attempt_that_is_not_picked_no_try_is_traced() -> None:
    with recorded(share=0.2) as keeps:
        for seed in range(50):
            await tried(TASK, seed=seed, rules=RULES, make=partial(Losing(WorldError("x")), TASK, seed=seed))
    assert {each.attributes[names.ATTEMPT_SEED] for each in keeps.named("attempt")} == taken(0.2) & set(range(50))
    assert len(keeps.named("try")) == 2 * len(keeps.named("attempt")) > 0


def test_an_attempt_within_one_that_is_not_picked_does_not_join_another() -> None:
    with recorded(share=0.5) as keeps:
        yes = next(iter(taken(0.5)))
        no = next(iter(set(range(1000)) - taken(0.5)))
        with (
            AttemptTrace("t1", seed=yes) as outer,
            outer.one_try(),
            span("outer"),
            AttemptTrace("t1", seed=no) as inner,
            inner.one_try(),
            span("inner"),
        ):
            pass
    assert [each.name for each in keeps.spans] == ["attempt", "try", "outer"]
