"""The README's plug-in generator is real: it is taken from there, checked, built and drawn with."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from gen_searcher.config.plug import Plug
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.types import Grounding, Reference

README = Path(__file__).parent.parent / "README.md"


async def test_the_generator_of_the_readme_plugs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(# my_generators\.py\n.*?)```", README.read_text(), re.DOTALL)
    assert code is not None
    assert len([line for line in code[1].splitlines() if line.strip()]) <= 16
    (tmp_path / "my_generators.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    plug = Plug.model_validate({"_target_": "my_generators.Collage", "height_px": 32})
    plug.check()
    store = ImageStore(tmp_path / "images")
    colours = {"red": (255, 0, 0), "blue": (0, 0, 255)}
    references = tuple(
        Reference(img_id=n, note=n, title=n, url="u", page_url="p", image=store.put(Image.new("RGB", (8, 8), rgb)))
        for n, rgb in colours.items()
    )
    generator = StoredGenerator(cast("ImageModel", plug.build()), store=store)
    drawn = store.get(await generator.generate(Grounding(gen_prompt="both", references=references), seed=0))
    assert drawn.size == (64, 32)
    assert [drawn.getpixel((x, 16)) for x in (16, 48)] == [(255, 0, 0), (0, 0, 255)]
    del sys.modules["my_generators"]
