"""Case 14: the run directory is full, read-only or stale. Nothing that was saved is lost, and the run goes on later."""

from __future__ import annotations

import errno
import json
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.cli import run
from gen_searcher.commands import preflight
from gen_searcher.config import load
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import DiskTrouble, LeaseHeld, StopRun, disk_trouble
from gen_searcher.image_store import ImageStore
from gen_searcher.ledger.lease import RunLease
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.tools.spend import SpendFile
from gen_searcher.train.run import LineFile, RunFolder
from gen_searcher.types import Grounding
from tests.faults.disks import fill, make_read_only, small_disk, stale_disk
from tests.train.toy_run import toy_run

pytestmark = pytest.mark.fault(14)

STEPS = 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of a run that nothing disturbed."""
    root = tmp_path_factory.mktemp("whole")
    toy_run(root, steps=STEPS)
    return (root / "weights.json").read_text()


def check_books(root: Path) -> int:
    """Everything on the disk can be read; returns the steps that are booked."""
    folder = RunFolder(root=root)
    for path in (folder.attempts, folder.metrics, folder.steps):
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            assert line.endswith(b"\n"), f"half a line in {path.name}"
            json.loads(line)
    with closing(sqlite3.connect(folder.ledger)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return 0  # there was no room to begin
        (begun,) = db.execute("SELECT begun FROM run").fetchone()
        assert db.execute("SELECT sum(count) FROM tally").fetchone() == (begun,)
        assert db.execute("SELECT count(*) FROM instances").fetchone() == (begun,)
        (booked,) = db.execute("SELECT count(*) FROM steps").fetchone()
    return booked


@contextmanager
def no_file_beyond(kib: int) -> Iterator[None]:
    """A bound of this process, as a batch system sets it: what needs no right to mount anything."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kib, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def ended_by_the_disk(root: Path) -> None:
    with pytest.raises(StopRun) as caught:
        toy_run(root, steps=STEPS)
    assert caught.value.exit_code == 3
    assert "run the same command again" in str(caught.value)
    assert str(root) in str(caught.value)


def test_a_run_whose_files_may_not_grow_ends_with_code_3_and_goes_on_to_the_same_weights(
    tmp_path: Path, whole: str
) -> None:
    with no_file_beyond(600):
        ended_by_the_disk(tmp_path)
    assert 0 < check_books(tmp_path) < STEPS, "in mid-run"
    toy_run(tmp_path, steps=STEPS)
    assert check_books(tmp_path) == STEPS
    assert (tmp_path / "weights.json").read_text() == whole


@pytest.mark.parametrize("leave_kib", [60, 1000])
def test_a_full_disk_ends_a_run_with_code_3_and_it_goes_on_to_the_same_weights(
    tmp_path: Path, whole: str, leave_kib: int
) -> None:
    with small_disk(tmp_path / "disk", kib=4096) as disk:
        root = disk / "run"
        root.mkdir()
        ballast = fill(disk, leave_kib=leave_kib)
        ended_by_the_disk(root)
        assert check_books(root) < STEPS
        ended_by_the_disk(root)  # still full: nothing is made worse
        ballast.unlink()
        toy_run(root, steps=STEPS)
        assert check_books(root) == STEPS
        assert (root / "weights.json").read_text() == whole


async def test_on_a_full_disk_nothing_is_half_written_and_a_drawing_that_cannot_be_kept_is_no_fault_of_the_model(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", kib=256) as disk, ExitStack() as stack:
        lines = stack.enter_context(closing(LineFile(disk / "lines")))
        spend, store = SpendFile(disk / "spend"), ImageStore(disk / "images")
        lines.write({"number": 1})
        spend.write({"serper": 1.0})
        ballast = fill(disk, leave_kib=0)
        before = sorted(path.name for path in disk.rglob("*") if path.is_file())
        long = b'"' + b"x" * 8000 + b'"'
        with pytest.raises(DiskTrouble, match=r"disk/lines: No space left on device\. What was saved is whole"):
            lines.write_raw(long)
        for write in (lambda: spend.write({"serper": 2.0}), lambda: store.put(Image.effect_noise((99, 99), 50))):
            with pytest.raises(OSError, match="No space left") as caught:
                write()
            assert isinstance(disk_trouble(caught.value), DiskTrouble)
        with pytest.raises(DiskTrouble, match="No space left"):
            await StoredGenerator(FakeImageModel(), store).generate(Grounding(gen_prompt="a", references=()), seed=1)
        assert sorted(path.name for path in disk.rglob("*") if path.is_file()) == before
        assert (disk / "lines").read_bytes() == b'{"number": 1}\n'
        assert spend.read() == {"serper": 1.0}
        assert spend.news() == {}, "what could not be written was given back by nobody"
        ballast.unlink()
        lines.write_raw(long)
        assert (disk / "lines").read_bytes() == b'{"number": 1}\n' + long + b"\n"


def problem(run_dir: Path) -> str:
    """The first that preflight finds, before it looks at anything else."""
    cfg = load.load(["experiment=smoke", f"run_dir='{run_dir}'"])
    return next(iter(preflight.problems(cfg, command="grpo")))


def test_a_disk_that_is_too_small_or_full_is_named_before_anything_is_spent(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=2048) as disk:
        assert problem(disk / "run").startswith(
            f"run_dir: 0.0 GiB free at {disk}; a run needs at least 1; make room there"
        )
        fill(disk, leave_kib=0)
        assert problem(disk / "run").startswith(
            f"run_dir: nothing can be written to {disk}: No space left on device; give"
        )
        assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_a_read_only_disk_is_named_before_anything_is_spent_and_refuses_the_lease(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=2048) as disk:
        make_read_only(disk)
        assert problem(disk / "run").startswith(
            f"run_dir: nothing can be written to {disk}: Read-only file system; give"
        )
        with pytest.raises(DiskTrouble, match="Read-only file system") as caught:
            RunLease.acquire(disk / "leases")
        assert caught.value.exit_code == 3


def test_a_stale_and_a_vanished_disk_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with stale_disk(tmp_path / "disk") as server:
        run_dir = tmp_path / "disk" / "run"
        for reason in ("Stale file handle", "Transport endpoint is not connected"):
            assert problem(run_dir).startswith(f"run_dir: {run_dir} cannot be looked at: ")
            assert reason in problem(run_dir)
            assert run(["export", "experiment=smoke", f"run_dir='{run_dir}'"]) == 3
            assert f"{run_dir}: {reason}. What was saved is whole" in capsys.readouterr().err
            with pytest.raises(DiskTrouble, match=reason):
                RunLease.acquire(run_dir / "leases")
            server.kill()
            server.wait()


def test_a_link_that_leads_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "run")
    assert problem(tmp_path / "run").startswith(f"run_dir: {tmp_path / 'run'} cannot be looked at: ")


def test_on_a_full_disk_a_holder_still_shows_that_it_lives_and_that_it_has_gone(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=64) as disk:
        with RunLease.acquire(disk / "leases", beat_s=0.01) as lease:
            fill(disk, leave_kib=0)
            with pytest.raises(LeaseHeld):
                RunLease.acquire(disk / "leases", expiry_s=60.0)
            lease.check()
        holder = json.loads((disk / "leases" / "00000001.json").read_text())
        assert holder["is_released"]
        assert [path.name for path in (disk / "leases").iterdir()] == ["00000001.json"]


@pytest.mark.parametrize("reason", [errno.ECONNREFUSED, errno.ECHILD, errno.EINTR])
def test_what_is_no_fault_of_a_disk_stays_what_it_is(reason: int) -> None:
    assert disk_trouble(OSError(reason, "x")) is None
    assert disk_trouble(OSError(errno.EPERM, "x")) is None, "of a socket: no file is named"
