from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quantize
from numpy.typing import NDArray

from gen_searcher.engines.gguf_file import GgufFile
from gen_searcher.errors import UserError
from tests.engines.tiny_gguf import write_gguf

SETTINGS = {"name": "Pöschl", "layers": 30, "theta": 0.5, "words": ["a", "Ġb"], "kinds": [3, -1]}


def write(tmp_path: Path, **tensors: NDArray[Any]) -> Path:
    return write_gguf(tmp_path / "a.gguf", settings=SETTINGS, tensors=tensors)


def test_settings_are_read_with_their_kinds(tmp_path: Path) -> None:
    file = GgufFile(write(tmp_path))
    assert {name: file.setting(name, type(value)) for name, value in SETTINGS.items()} == SETTINGS


@pytest.mark.parametrize(("kind", "wanted"), [(str, "str"), (int, "int"), (list, "list")])
@pytest.mark.parametrize("name", ["theta", "missing"])
def test_a_setting_of_another_kind_is_named(tmp_path: Path, kind: type, wanted: str, name: str) -> None:
    with pytest.raises(UserError, match=rf"a\.gguf: {name} is (0\.5|None); wanted is {wanted}"):
        GgufFile(write(tmp_path)).setting(name, kind)


def test_a_plain_tensor_comes_back_as_it_was_rows_first(tmp_path: Path) -> None:
    one, two = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7.5], dtype=np.float32)
    file = GgufFile(write(tmp_path, one=one, two=two))
    assert file.tensor_names == {"one", "two"}
    assert np.array_equal(file.tensor("one"), one)
    assert np.array_equal(file.tensor("two"), two)


def test_a_tensor_of_eight_bits_comes_back_in_its_shape_and_to_a_step(tmp_path: Path) -> None:
    values = np.linspace(-1.0, 1.0, 128, dtype=np.float32).reshape(2, 64)
    found = GgufFile(write(tmp_path, w=quantize(values, GGMLQuantizationType.Q8_0))).tensor("w")
    assert (found.shape, found.dtype) == ((2, 64), np.float32)
    assert 0.0 < np.abs(found - values).max() < 1 / 127


def test_a_number_format_that_nobody_can_undo_is_refused_by_its_name(tmp_path: Path) -> None:
    file = GgufFile(write(tmp_path, w=np.ones((1, 32), np.int32)))
    with pytest.raises(UserError, match=r"a\.gguf: w: .*I32"):
        file.tensor("w")


def test_a_tensor_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.gguf has no tensor w"):
        GgufFile(write(tmp_path)).tensor("w")


def test_a_file_that_was_cut_is_named_wherever_it_was_cut(tmp_path: Path) -> None:
    path = write(tmp_path, w=np.ones((4, 32), np.float32))
    whole_file = path.read_bytes()
    for length in range(0, len(whole_file), 7):
        path.write_bytes(whole_file[:length])
        with pytest.raises(UserError, match=r"a\.gguf is no whole GGUF file"):
            GgufFile(path)


@pytest.mark.parametrize("start", [b"PK\3\4", b"GGUF\11\0\0\0"])
def test_a_foreign_file_is_named(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(start + bytes(64))
    with pytest.raises(UserError, match=r"a\.gguf is no whole GGUF file"):
        GgufFile(path)
