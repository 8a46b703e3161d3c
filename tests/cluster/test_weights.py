from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from gen_searcher.cluster.weights import WeightBoard, WeightFollower, board_folder
from gen_searcher.engines.weight_files import SHARED_MEMORY, SPARE
from gen_searcher.errors import ConfigError
from gen_searcher.types import Completion, Prompt, Sampling, WeightSource

needs_shared_memory = pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="this system has no /dev/shm")


class Loader:
    """An engine that only loads: remembers the bytes of each version, and may publish another one meanwhile."""

    def __init__(self, meanwhile: dict[int, WeightBoard] | None = None) -> None:
        self.loaded: list[tuple[int, bytes]] = []
        self._meanwhile = meanwhile or {}

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        raise NotImplementedError

    async def load_weights(self, version: int, source: WeightSource) -> None:
        board = self._meanwhile.pop(version, None)
        if board is not None:
            publish(board, version + 1)
        self.loaded.append((version, Path(source.path).read_bytes()))  # noqa: ASYNC240 - ten bytes


def publish(board: WeightBoard, version: int) -> None:
    board.folder.mkdir(parents=True, exist_ok=True)
    board.path(version).write_bytes(b"weights %d" % version)
    board.announce(version)
    board.drop_older(version)


async def test_an_engine_that_starts_late_loads_what_is_published(tmp_path: Path) -> None:
    board = WeightBoard(tmp_path / "weights")
    board.clear()  # what a run begins with
    engine = Loader()
    follower = WeightFollower(WeightBoard(tmp_path / "weights"))
    await follower.catch_up(engine)
    assert engine.loaded == []
    publish(board, 6)
    publish(board, 7)
    await follower.catch_up(engine)
    await follower.catch_up(engine)
    assert engine.loaded == [(7, b"weights 7")]


async def test_an_engine_that_restarts_during_a_publish_ends_with_the_newest_version(tmp_path: Path) -> None:
    board = WeightBoard(tmp_path / "weights")
    publish(board, 3)
    engine = Loader(meanwhile={3: board})
    await WeightFollower(board).catch_up(engine)
    assert engine.loaded == [(4, b"weights 4")]


async def test_a_published_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    board = WeightBoard(tmp_path / "weights")
    publish(board, 3)
    board.path(3).unlink()
    with pytest.raises(FileNotFoundError):
        await WeightFollower(board).catch_up(Loader())


def test_on_disk_older_versions_are_deleted(tmp_path: Path) -> None:
    board = WeightBoard(tmp_path / "weights")
    for version in (1, 2, 3):
        publish(board, version)
    assert sorted(path.name for path in board.folder.iterdir()) == ["current.json", "v3.safetensors"]
    board.remove()
    assert board.path(3).exists()


@needs_shared_memory
def test_in_shared_memory_one_older_version_stays_as_the_spare_until_the_run_ends(tmp_path: Path) -> None:
    folder = board_folder("shared_memory", run=tmp_path, own=tmp_path / "weights", nodes=1, weight_bytes=1)
    assert folder.parent == SHARED_MEMORY
    board = WeightBoard(folder)
    try:
        for version in (1, 2, 3):
            publish(board, version)
        assert sorted(path.name for path in folder.iterdir()) == ["current.json", SPARE, "v3.safetensors"]
        board.clear()
        assert list(folder.iterdir()) == []
        board.remove()
        assert not folder.exists()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("nodes", "weight_bytes", "why"),
    [(2, 1, "the cluster has 2 nodes"), (1, 1 << 60, "two versions take 2147483648.0 GiB")],
)
def test_where_shared_memory_cannot_be_used_the_log_says_why_or_the_run_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, nodes: int, weight_bytes: int, why: str
) -> None:
    own = tmp_path / "weights"
    with caplog.at_level(logging.INFO):
        assert board_folder("auto", run=tmp_path, own=own, nodes=nodes, weight_bytes=weight_bytes) == own
    assert why in caplog.text
    with pytest.raises(ConfigError, match=f"policy.weights.place=shared_memory: .*{why}.*; set it to run_dir"):
        board_folder("shared_memory", run=tmp_path, own=own, nodes=nodes, weight_bytes=weight_bytes)


@needs_shared_memory
def test_by_itself_a_run_on_one_node_uses_shared_memory_unless_told_otherwise(tmp_path: Path) -> None:
    own = tmp_path / "weights"
    assert board_folder("auto", run=tmp_path, own=own, nodes=1, weight_bytes=1).parent == SHARED_MEMORY
    assert board_folder("run_dir", run=tmp_path, own=own, nodes=1, weight_bytes=1) == own
