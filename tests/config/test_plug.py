from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from gen_searcher.config.plug import Plug
from gen_searcher.config.secrets import Secret
from gen_searcher.errors import ConfigError

HERE = f"{__name__}.Brush"


class Brush:
    """A plug-in as somebody else would write it."""

    def __init__(
        self, *, folder: Path, width_px: int = 3, mode: Literal["wet", "dry"] = "wet", key: Secret | None = None
    ) -> None:
        self.folder, self.width_px, self.mode, self.key = folder, width_px, mode, key


class Greedy:
    """Takes whatever comes."""

    def __init__(self, **anything: object) -> None:
        self.anything = anything


def plug(target: str = HERE, **keywords: object) -> Plug:
    return Plug.model_validate({"_target_": target, **keywords})


def problem(broken: Plug, injected: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        broken.check(injected, at="generator")
    return str(caught.value)


def test_a_plug_builds_its_target_with_typed_keywords() -> None:
    brush = plug(folder="a/b", key="env:NAME").build()
    assert isinstance(brush, Brush)
    assert (brush.folder, brush.width_px, brush.key) == (Path("a/b"), 3, Secret("env:NAME"))


def test_the_program_adds_its_own_keywords_at_build() -> None:
    wanting = plug(width_px=5)
    wanting.check(("folder",))
    brush = wanting.build(folder=Path("x"))
    assert isinstance(brush, Brush)
    assert (brush.folder, brush.width_px) == (Path("x"), 5)


def test_a_target_that_takes_anything_passes_the_check() -> None:
    plug(f"{__name__}.Greedy", a=1).check(("store",))


def test_writing_a_plug_back_gives_the_yaml_it_came_from() -> None:
    yaml_value = {"_target_": HERE, "folder": "x", "width_px": 4}
    assert Plug.model_validate(yaml_value).model_dump(mode="json") == yaml_value
    assert Plug.model_validate(Plug.model_validate(yaml_value)).target == HERE


def test_check_does_not_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explosive.py").write_text("class Model:\n    def __init__(self):\n        raise SystemExit\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plug("explosive.Model").check()


def test_an_unknown_keyword_names_the_close_one() -> None:
    text = problem(plug(folder="x", widht_px=3))
    assert text == f"generator.widht_px: {HERE} takes no keyword 'widht_px'; did you mean 'width_px'?"


def test_a_missing_keyword_and_a_keyword_of_the_wrong_type_are_named() -> None:
    assert (
        problem(plug())
        == f"generator.folder: {HERE} needs this keyword and it is not set; write +generator.folder=VALUE"
    )
    assert problem(plug(folder="x", width_px="wide")).startswith("generator.width_px: Input should be a valid integer")
    assert problem(plug(folder="x", mode="moist")).startswith("generator.mode: Input should be 'wet' or 'dry'")


def test_a_pasted_key_is_not_repeated() -> None:
    assert "sk-123" not in problem(plug(folder="x", key="sk-123"))


def test_a_target_that_cannot_take_what_the_program_passes_is_refused() -> None:
    assert "must accept the keyword 'store'" in problem(plug(folder="x"), ("store",))


def test_a_target_that_is_not_there_is_named() -> None:
    assert problem(plug("nowhere_at_all.Model")).startswith("generator._target_: there is no module 'nowhere_at_all'")
    assert "has no class 'Bruhs'; did you mean 'Brush'?" in problem(plug(f"{__name__}.Bruhs"))


def test_a_target_whose_own_import_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hungry.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = problem(plug("hungry.Model"))
    assert text == "generator._target_: hungry needs the package 'not_installed_at_all'; install it"


def test_yaml_without_a_target_is_refused() -> None:
    for value in ({"folder": "x"}, {"_target_": 3}, {"_target_": "nodots"}, "text"):
        with pytest.raises(ValidationError):
            Plug.model_validate(value)
