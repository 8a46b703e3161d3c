"""Which of several image models draws a task: one for all its attempts, by its id and the run's seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from gen_searcher.drawing import Capability, DrawnHow, Member
from gen_searcher.ledger.payload import cost_usd
from gen_searcher.train.attempt import GroupRules, asked, member_seed, member_seeds, run_group, score_trajectory
from gen_searcher.train.mixture import member_of, one_model_a_task
from gen_searcher.train.sampled import naming, sample_seeds
from gen_searcher.types import (
    Attempt,
    Grounding,
    ImageRef,
    Judgement,
    Outcome,
    Reference,
    Reward,
    Task,
    Trajectory,
)

MEMBERS = (
    Member(name="exact", capability=Capability(max_references=2, usd_per_picture=0.01)),
    Member(name="hosted", capability=Capability(max_references=1, usd_per_picture=0.04)),
    Member(name="painter", capability=Capability()),
)
ABLE = Capability(max_references=1, usd_per_picture=0.04, members=MEMBERS)
LARGEST = 2**31 - 1


def task(number: int) -> Task:
    return Task(id=f"t{number}", prompt="draw", target=None, meta={})


def grounding(references: int = 0) -> Grounding:
    image = ImageRef(sha256="ab" * 32, width_px=8, height_px=8)
    one = Reference(img_id="IMG_001", note="", title="", url="", page_url="", image=image)
    return Grounding(gen_prompt="a", references=(one,) * references)


class Draws:
    def __init__(self) -> None:
        self.seeds: list[int] = []

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        self.seeds.append(seed)
        return ImageRef(sha256=f"{seed}", width_px=8, height_px=8)


def compose(trajectory: Trajectory, judgements: Sequence[Judgement]) -> Reward:
    return Reward(total=0.0, parts={})


@pytest.mark.parametrize("members", [1, 2, 3, 7])
def test_a_moved_seed_names_its_member_and_stays_a_seed(members: int) -> None:
    for seed in (0, 1, 5, 6, 1000, LARGEST - 1, LARGEST):
        for member in range(members):
            moved = naming(member, seed, members=members)
            assert moved % members == member
            assert 0 <= moved <= LARGEST
            assert abs(moved - seed) < members
    assert naming(0, 12345, members=1) == 12345


def test_all_attempts_at_a_task_have_one_model_and_seeds_of_their_own() -> None:
    seeds = one_model_a_task(member_seed, run_seed=0, capability=ABLE)
    for number in range(20):
        own = [seeds(task(number), seed) for seed in member_seeds(number, rules=GroupRules(size=6))]
        assert {seed % 3 for seed in own} == {member_of(task(number), run_seed=0, members=3)}
        assert len(set(own)) == 6


def test_tasks_are_shared_out_evenly_and_otherwise_in_another_run() -> None:
    places = [member_of(task(number), run_seed=0, members=3) for number in range(3000)]
    counts = Counter(places)
    assert sorted(counts) == [0, 1, 2]
    assert min(counts.values()) > 900
    assert places[:40] == [member_of(task(number), run_seed=0, members=3) for number in range(40)]
    assert places[:40] != [member_of(task(number), run_seed=1, members=3) for number in range(40)]


def test_a_single_model_keeps_every_seed() -> None:
    assert one_model_a_task(member_seed, run_seed=0, capability=Capability()) is member_seed
    assert sample_seeds(77, count=3) == sample_seeds(77, count=3, members=1)


def test_further_pictures_of_a_grounding_come_from_the_same_model() -> None:
    seeds = sample_seeds(7000, count=5, members=3)
    assert seeds[0] == 7000
    assert {seed % 3 for seed in seeds} == {7000 % 3}
    assert len(set(seeds)) == 5


@pytest.mark.parametrize(
    ("seed", "name", "usd", "cut"), [(9, "exact", 0.02, 0), (10, "hosted", 0.08, 1), (11, "painter", 0.0, 0)]
)
def test_the_record_names_the_model_its_price_and_what_it_was_not_shown(
    seed: int, name: str, usd: float, cut: int
) -> None:
    drawing = asked(grounding(2), seed=seed, capability=ABLE, samples=2)
    assert (drawing.how, drawing.reason, drawing.seed) == (DrawnHow.DRAWN, name, seed)
    assert (drawing.cost_usd, drawing.cut_references) == (pytest.approx(usd), cut)
    assert asked(grounding(2), seed=seed, capability=Capability()).reason == ""


async def test_a_group_is_drawn_by_one_model_and_says_so() -> None:
    draws = Draws()
    seeds = one_model_a_task(member_seed, run_seed=4, capability=ABLE)

    async def attempt(task: Task, *, seed: int) -> Attempt:
        found = Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding())
        return await score_trajectory(
            task,
            found,
            seed=seed,
            generator=draws,
            judges=[],
            compose=compose,
            picture_seed=seeds,
            capability=ABLE,
            samples=2,
        )

    group = await run_group(task(5), seed=1, version=0, rules=GroupRules(size=4), attempt=attempt)
    member = member_of(task(5), run_seed=4, members=3)
    assert {seed % 3 for seed in draws.seeds} == {member}
    assert len(set(draws.seeds)) == 8
    assert {each.drawing.reason for each in group.attempts if each.drawing} == {MEMBERS[member].name}
    price = 2 * MEMBERS[member].capability.usd_per_picture
    assert [cost_usd(each) for each in group.attempts] == [pytest.approx(price)] * 4
