from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gen_searcher.engines.weight_files import SHARED_MEMORY, SPARE, reading, write_weights


def tensors(value: float, *, rows: int = 5) -> dict[str, torch.Tensor]:
    return {
        "head": torch.full((rows, 3), value),
        "norm": torch.full((7,), value, dtype=torch.bfloat16),
        "scale": torch.tensor(value),
    }


def test_what_is_written_is_read_back_by_safetensors(tmp_path: Path) -> None:
    write_weights(tensors(1.5), tmp_path / "v1.safetensors")
    found = load_file(tmp_path / "v1.safetensors")
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in found.items()} == {
        "head": (torch.float32, (5, 3)),
        "norm": (torch.bfloat16, (7,)),
        "scale": (torch.float32, ()),
    }
    assert all(bool((tensor == 1.5).all()) for tensor in found.values())
    assert [path.name for path in tmp_path.iterdir()] == ["v1.safetensors"]


def test_a_spare_gives_its_pages_to_the_next_version_and_nothing_of_it_stays(tmp_path: Path) -> None:
    write_weights(tensors(1.0, rows=900), tmp_path / SPARE)
    inode = (tmp_path / SPARE).stat().st_ino
    write_weights(tensors(2.0), tmp_path / "v2.safetensors")
    assert (tmp_path / "v2.safetensors").stat().st_ino == inode
    assert not (tmp_path / SPARE).exists()
    assert (tmp_path / "v2.safetensors").stat().st_size < 1000
    assert float(load_file(tmp_path / "v2.safetensors")["head"].sum()) == 30.0


def test_a_spare_that_an_engine_still_reads_keeps_its_pages(tmp_path: Path) -> None:
    write_weights(tensors(1.0), tmp_path / SPARE)
    inode = (tmp_path / SPARE).stat().st_ino
    with (tmp_path / SPARE).open("rb") as hung:
        fcntl.flock(hung, fcntl.LOCK_SH)
        write_weights(tensors(2.0), tmp_path / "v2.safetensors")
    assert (tmp_path / "v2.safetensors").stat().st_ino != inode
    assert float(load_file(tmp_path / SPARE)["head"].sum()) == 15.0
    assert float(load_file(tmp_path / "v2.safetensors")["head"].sum()) == 30.0


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="this system has no /dev/shm")
def test_reading_from_shared_memory_keeps_writers_off(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = SHARED_MEMORY / tmp_path_factory.mktemp("weights").name
    folder.mkdir()
    try:
        write_weights(tensors(1.0), folder / "v1.safetensors")
        with reading(folder / "v1.safetensors"):
            (folder / "v1.safetensors").replace(folder / SPARE)
            write_weights(tensors(2.0), folder / "v2.safetensors")
            assert (folder / SPARE).exists()
        write_weights(tensors(3.0), folder / "v3.safetensors")
        assert not (folder / SPARE).exists()
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_a_dtype_that_no_policy_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_weights({"x": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "v1.safetensors")
    assert not (tmp_path / "v1.safetensors").exists()
