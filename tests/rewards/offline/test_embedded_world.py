"""The judges on the pictures that ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.offline.image_judge import OfflineImageJudge
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.types import Facts, Grounding, Outcome, Reference, Subject, Task, Trajectory
from gen_searcher.world.canvas import STYLES, compose, slot_boxes, with_caption, wording
from gen_searcher.world.world import World


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> OfflineImageJudge:
    return OfflineImageJudge(store=ImageStore(tmp_path_factory.mktemp("store")))


def task_of(*entities: str, style: str, caption: str | None = None) -> Task:
    world, layout = World.load(), "beside" if len(entities) == 2 else "alone"
    subjects = tuple(
        Subject(entity=entity, name=world.entities[entity].name, box=box)
        for entity, box in zip(entities, slot_boxes(layout), strict=True)
    )
    facts = Facts(subjects=subjects, layout=layout, style=style, caption=caption)
    return Task(id=f"{entities}-{style}", prompt="p", target=None, facts=facts, meta={})


def poster(*entities: str, style: str, caption: str | None = None) -> Image.Image:
    pictures = [World.load().picture(entity) for entity in entities]
    return compose(pictures, layout="beside" if len(entities) == 2 else "alone", style=style, caption=caption)


def painted(ideal: Image.Image, caption: str | None, rng: np.random.Generator) -> Image.Image:
    blurred = np.asarray(ideal.crop((0, 0, 128, 64)).filter(ImageFilter.GaussianBlur(1.0)), dtype=np.float64)
    noisy = blurred * rng.uniform(0.85, 1.1) + rng.normal(0.0, 12.0, blurred.shape)
    return with_caption(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), caption)


@pytest.mark.parametrize("kind", ["flag", "element", "constellation"])
def test_painted_pictures_are_told_from_every_other_of_their_kind(judge: OfflineImageJudge, kind: str) -> None:
    world, rng = World.load(), np.random.default_rng(0)
    ids = sorted(entity_id for entity_id, entity in world.entities.items() if entity.kind == kind)
    right: list[float] = []
    wrong: list[float] = []
    for number, asked in enumerate(rng.choice(ids, 24, replace=False).tolist()):
        style = list(STYLES)[number % len(STYLES)]
        other = next(i for i in rng.permutation(ids).tolist() if i not in (asked, *world.look_alikes(asked)))
        for drawn, scores in ((asked, right), (other, wrong)):
            picture = painted(poster(drawn, style=style), None, rng)
            scores.append(judge.slots(task_of(asked, style=style), picture)[0].correctness)
    assert np.mean(right) > 0.95
    assert np.mean(wrong) < 0.05


async def test_a_solved_task_scores_full_marks_with_both_judges(judge: OfflineImageJudge, tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    world = World.load()
    task = task_of("element-po", "flag-pl", style="night", caption="Warsaw")
    grounding = Grounding(
        gen_prompt=wording(layout="beside", style="night", caption="Warsaw"),
        references=tuple(
            Reference(
                img_id="IMG_001",
                note="",
                title=world.entities[entity].name,
                url=world.entities[entity].picture_url,
                page_url="",
                image=store.put(world.picture(entity)),
            )
            for entity in ("element-po", "flag-pl")
        ),
    )
    trajectory = Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding)
    picture = poster("element-po", "flag-pl", style="night", caption="Warsaw")
    assert (await OfflineTextJudge(store=store).judge(task, trajectory, None)).score == 1.0
    verdict = judge.verdict(task, picture)
    assert verdict.score == pytest.approx(1.0, abs=0.01)
    assert "reads 'Warsaw'" in verdict.rationale
