from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from gen_searcher.engines.gguf_file import GgufFile
from gen_searcher.errors import UserError
from tests.engines.tiny_gguf import Stored, as_f32, real, text, texts, whole, wholes, write_gguf

SETTINGS = {
    "name": text("Pöschl"),
    "layers": whole(30),
    "theta": real(0.5),
    "words": texts(["a", "Ġb"]),
    "kinds": wholes([3, -1]),
}


def write(tmp_path: Path, **tensors: Stored) -> Path:
    return write_gguf(tmp_path / "a.gguf", settings=SETTINGS, tensors=tensors)


def test_settings_are_read_with_their_kinds(tmp_path: Path) -> None:
    file = GgufFile.open(write(tmp_path))
    assert (file.text("name"), file.whole("layers"), file.real("theta")) == ("Pöschl", 30, 0.5)
    assert (file.texts("words"), file.wholes("kinds")) == (["a", "Ġb"], [3, -1])


@pytest.mark.parametrize(
    ("ask", "wanted"), [("text", "a string"), ("whole", "a whole number"), ("texts", "a list of strings")]
)
@pytest.mark.parametrize("name", ["theta", "kinds", "missing"])
def test_a_setting_of_another_kind_is_named(tmp_path: Path, ask: str, wanted: str, name: str) -> None:
    file = GgufFile.open(write(tmp_path))
    asks = {"text": file.text, "whole": file.whole, "texts": file.texts}
    with pytest.raises(UserError, match=f"{name} is not {wanted}"):
        asks[ask](name)


def test_a_plain_tensor_comes_back_as_it_was_rows_first(tmp_path: Path) -> None:
    one, two = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7.5], dtype=np.float32)
    file = GgufFile.open(write(tmp_path, one=as_f32(one), two=as_f32(two)))
    assert file.tensor_names == {"one", "two"}
    assert np.array_equal(file.tensor("one"), one)
    assert np.array_equal(file.tensor("two"), two)


def test_eight_bits_are_a_step_times_a_signed_number(tmp_path: Path) -> None:
    numbers = np.arange(-16, 16, dtype=np.int8)
    stored = Stored(shape=(1, 32), kind=8, data=struct.pack("<e", 0.25) + numbers.tobytes())
    assert GgufFile.open(write(tmp_path, w=stored)).tensor("w").tolist() == [[n / 4 for n in range(-16, 16)]]


def test_four_bits_are_a_minimum_and_steps_above_it_low_halves_first(tmp_path: Path) -> None:
    packed = bytes(low | high << 4 for low, high in zip(range(16), reversed(range(16)), strict=True))
    stored = Stored(shape=(1, 32), kind=3, data=struct.pack("<ee", 0.5, -2.0) + packed)
    expected = [-2.0 + n / 2 for n in (*range(16), *reversed(range(16)))]
    assert GgufFile.open(write(tmp_path, w=stored)).tensor("w").tolist() == [expected]


def test_another_number_format_is_refused_by_its_number(tmp_path: Path) -> None:
    file = GgufFile.open(write(tmp_path, w=Stored(shape=(1, 32), kind=14, data=bytes(64))))
    with pytest.raises(UserError, match="w has number format 14"):
        file.tensor("w")


def test_a_file_that_was_cut_is_named_wherever_it_was_cut(tmp_path: Path) -> None:
    path = write(tmp_path, w=as_f32(np.ones((4, 32), np.float32)))
    whole_file = path.read_bytes()
    for length in range(0, len(whole_file), 7):
        path.write_bytes(whole_file[:length] or b"\0")
        with pytest.raises(UserError, match=r"ends within|is no GGUF file"):
            GgufFile.open(path).tensor("w")


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        (b"PK\3\4", "is no GGUF file"),
        (b"GGUF" + struct.pack("<I", 9), "GGUF version 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60), "ends within its header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "ends within its header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"\xff" + bytes(8), "is not UTF-8"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<I", 99), "a setting of unknown kind 99"),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 9, 1),
            "a setting of unknown kind 9 ",
        ),
    ],
)
def test_what_a_stranger_may_send_is_refused(tmp_path: Path, start: bytes, problem: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(start)
    with pytest.raises(UserError, match=problem):
        GgufFile.open(path)
