"""What a plug can do is known before it is built, and the policy is not promised more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gen_searcher.commands import preflight
from gen_searcher.config import load
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.plug import Plug
from gen_searcher.drawing import Capability
from gen_searcher.errors import ConfigError


class Declares:
    def __init__(self, *, most: int = 5) -> None: ...

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        return Capability(max_references=int(str(keywords.get("most", 5))), usd_per_picture=0.04)


class Wrong:
    @staticmethod
    def declare(keywords: Mapping[str, object]) -> str:
        return "many"


def test_a_declaration_follows_the_keywords() -> None:
    plug = Plug.model_validate({"_target_": "tests.config.test_capability.Declares", "most": 7})
    assert plug_capability(plug) == Capability(max_references=7, usd_per_picture=0.04)


def test_a_plug_that_declares_nothing_gets_the_defaults() -> None:
    plug = Plug.model_validate({"_target_": "gen_searcher.testing.fake_image_model.FakeImageModel"})
    assert plug_capability(plug) == Capability(max_references=None, takes_seed=True, usd_per_picture=0.0, batch=1)


def test_a_declaration_that_is_none_is_a_mistake_of_the_plug() -> None:
    plug = Plug.model_validate({"_target_": "tests.config.test_capability.Wrong"})
    with pytest.raises(ConfigError, match=r"Wrong\.declare returned str, not a Capability"):
        plug_capability(plug)


def test_preflight_refuses_more_references_than_the_generator_takes(tmp_path: Path) -> None:
    cfg = load.load(["experiment=laptop", "agent.max_references=5", f"run_dir='{tmp_path}/run'"])
    assert [text for text in preflight.problems(cfg, command="grpo") if "max_references" in text] == [
        "agent.max_references: 5 is more than the 2 that gen_searcher.engines.painter.EmbeddedPainter takes; "
        "set agent.max_references=2 or choose another generator"
    ]
