"""Several image models behind one: the seed says who draws."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.commands.preflight import problems
from gen_searcher.config import load
from gen_searcher.config.capability import is_local, plug_capability
from gen_searcher.config.plug import Plug
from gen_searcher.drawing import Capability
from gen_searcher.engines.compositor import Compositor
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.engines.mixture import Mixture, plugs_of
from gen_searcher.engines.painter import EmbeddedPainter
from gen_searcher.errors import ConfigError
from gen_searcher.image_store import ImageStore, picture_ref
from gen_searcher.testing.generator_kit import check_generator
from gen_searcher.types import Grounding
from gen_searcher.world import canvas

COMPOSITOR = {"_target_": "gen_searcher.engines.compositor.Compositor"}
PAINTER = {"_target_": "gen_searcher.engines.painter.EmbeddedPainter"}
FAKE = {"_target_": "gen_searcher.testing.fake_image_model.FakeImageModel", "fails_on": "boom"}
PROMPT = "the first reference image alone"


def mixture(**members: object) -> Plug:
    return Plug.model_validate({"_target_": "gen_searcher.engines.mixture.Mixture", "members": members})


async def test_each_seed_is_drawn_by_its_own_model_exactly_as_that_model_draws_alone() -> None:
    both = mixture(painter=PAINTER, compositor=COMPOSITOR).build()
    assert isinstance(both, Mixture)
    reference = Image.linear_gradient("L").convert("RGB")
    alone = [Compositor(), EmbeddedPainter()]  # by name: compositor, painter
    for seed in (10, 11, 12):
        mine = await both.draw(PROMPT, [reference], seed=seed)
        own = await alone[seed % 2].draw(PROMPT, [reference], seed=seed)
        other = await alone[(seed + 1) % 2].draw(PROMPT, [reference], seed=seed)
        assert picture_ref(mine) == picture_ref(own)
        assert picture_ref(mine) != picture_ref(other)


def test_it_declares_what_all_of_its_models_can_do() -> None:
    able = plug_capability(mixture(painter=PAINTER, compositor=COMPOSITOR))
    assert (able.max_references, able.sizes_px, able.takes_seed, able.batch) == (2, (canvas.SIZE_PX,), True, 1)
    assert [one.name for one in able.members] == ["compositor", "painter"]
    assert (able.who(6), able.who(7)) == ("compositor", "painter")
    assert not able.of(6).takes_seed
    with_fake = plug_capability(mixture(painter=PAINTER, zebra=FAKE))
    assert (with_fake.max_references, with_fake.sizes_px) == (2, ())
    assert able.revision != with_fake.revision


async def test_one_model_that_fails_is_the_failure_of_its_own_pictures_only(tmp_path: Path) -> None:
    plug = mixture(compositor=COMPOSITOR, fake=FAKE)
    model = plug.build()
    assert isinstance(model, Mixture)
    generator = StoredGenerator(model, ImageStore(tmp_path), capability=plug_capability(plug))
    boom = Grounding(gen_prompt="boom alone", references=())
    assert (await generator.generate(boom, seed=2)).width_px == canvas.SIZE_PX[0]
    with pytest.raises(Exception, match="fake failure"):
        await generator.generate(boom, seed=3)


async def test_it_passes_the_conformance_kit() -> None:
    plug = mixture(compositor=COMPOSITOR, painter=PAINTER)
    model = plug.build()
    assert isinstance(model, Mixture)
    report = await check_generator(model, plug_capability(plug))
    assert not report.failed, report.text()


@pytest.mark.parametrize("members", [{}, {"one": COMPOSITOR}])
def test_one_model_is_no_mixture(members: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="two or more image models"):
        plug_capability(mixture(**members))


def test_a_mixture_within_a_mixture_is_refused() -> None:
    inner = {"_target_": "gen_searcher.engines.mixture.Mixture", "members": {"a": COMPOSITOR, "b": PAINTER}}
    with pytest.raises(ConfigError, match="no mixture among them"):
        plug_capability(mixture(a=COMPOSITOR, b=inner))


def test_it_can_be_asked_again_by_a_replay_when_all_of_its_models_can() -> None:
    assert is_local(mixture(painter=PAINTER, compositor=COMPOSITOR))
    assert not is_local(mixture(painter=PAINTER, fake=FAKE))
    assert plugs_of(Plug.model_validate(COMPOSITOR)) == {}


def found(tmp_path: Path, *words: str) -> list[str]:
    cfg = load.load(["experiment=smoke", f"run_dir='{tmp_path / 'run'}'", "generator=mixture", *words])
    return [problem for problem in problems(cfg, command="grpo") if "generator" in problem]


def test_the_shipped_mixture_starts(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def test_a_member_that_cannot_be_built_is_named_before_anything_is_spent(tmp_path: Path) -> None:
    (misspelt,) = found(tmp_path, "+generator.members.painter.step=3")
    assert "generator.members.painter.step: " in misspelt
    assert "did you mean 'steps'" in misspelt
    (few,) = found(tmp_path, "~generator.members.painter")
    assert few.startswith("generator.members: a mixture takes two or more")


def test_a_single_model_has_no_members() -> None:
    assert (Capability().who(5), Capability().of(5)) == ("", Capability())
