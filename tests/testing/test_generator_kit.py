"""The kit passes what keeps the contract and names what does not."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher import cli
from gen_searcher.drawing import Capability
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.generator_kit import CASES, check_generator

README = Path(__file__).parent.parent.parent / "README.md"


def test_the_plug_of_the_readme_passes_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(# my_generators\.py\n.*?)```", README.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "my_generators.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.run(["generator", "check", "my_generators:Collage"]) == 0
    assert f"0 failed, of {len(CASES)}" in capsys.readouterr().out
    del sys.modules["my_generators"]


class Fickle(FakeImageModel):
    count = itertools.count()

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        return await super().draw(prompt, references, seed=next(self.count))


class Grey(FakeImageModel):
    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        return (await super().draw(prompt, references, seed=seed)).convert("L")


class Blind(FakeImageModel):
    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        return await super().draw(prompt, [], seed=seed)


class Vandal(FakeImageModel):
    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        drawn = await super().draw(prompt, references, seed=seed)
        for reference in references:
            reference.paste("black", (0, 0, 5, 5))
        return drawn


class Editor(FakeImageModel):
    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        return await super().draw(f"{prompt} {references[0].size}", references, seed=seed)


BROKEN = [
    (Fickle(), Capability(), "equal arguments give equal pictures"),
    (Grey(), Capability(), "the picture is RGB"),
    (Blind(), Capability(), "another reference gives another picture"),
    (Editor(), Capability(), "it draws without a reference"),
    (Vandal(), Capability(), "it leaves its references as they were"),
    (FakeImageModel(), Capability(batch=4), "it declares a capability that it has the methods for"),
    (FakeImageModel(), Capability(sizes_px=((3, 3),)), "the picture has a declared size"),
    (FakeImageModel(fails_on="Łódź"), Capability(), "it takes quotes, other scripts, line ends and braces"),
]


@pytest.mark.parametrize(("model", "capability", "case"), BROKEN, ids=[case for _, _, case in BROKEN])
async def test_a_broken_model_fails_the_case_it_breaks(
    model: FakeImageModel, capability: Capability, case: str
) -> None:
    report = await check_generator(model, capability)
    assert case in [verdict.case for verdict in report.failed], report.text()
