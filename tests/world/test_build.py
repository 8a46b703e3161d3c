from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path

import pytest

from gen_searcher.world.build.rows import Row, write_pack
from gen_searcher.world.build.sources import FLAGS, NPM, PYPI

CACHE = Path.home() / ".cache" / "gen_searcher" / "world"
FILES = ("pages.jsonl.gz", "entities.jsonl.gz", "pictures.zip", "ledger.jsonl.gz")


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    rows = [Row(title=title, category="geography", sentences=("A fact.",), sources=(FLAGS,)) for title in ("B", "A")]
    for name in ("one", "two"):
        write_pack(rows, out=tmp_path / name)
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in FILES)


@pytest.mark.slow
def test_two_builds_are_equal_byte_for_byte_and_equal_to_the_package(tmp_path: Path) -> None:
    if not all((CACHE / package.archive).exists() for package in NPM + PYPI):
        pytest.skip(f"the archives are not in {CACHE}; run `gen-searcher world build` once")
    from gen_searcher.world.build.pack import build

    packaged = resources.files("gen_searcher.world") / "data"
    for name in ("one", "two"):
        build(tmp_path / name, CACHE, logging.getLogger("test").info)
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        assert (tmp_path / "one" / file).read_bytes() == (packaged / file).read_bytes()
