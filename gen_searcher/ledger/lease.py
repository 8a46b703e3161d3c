"""Who may write a run directory: one file per holder, numbered; the highest number holds. No clock is compared.

    LEASES/00000007.json   token 7: host, pid, since, and `beat`, a number that grows every few seconds

The number is the fencing token. A file gets it by a hard link, which is atomic on local disks and on NFS, so of two that
reach for the same number one wins. A holder is gone when its file says so; when it ran in this very place (host,
boot and process namespace) and its process is no more; or when its beat has stood still for `expiry_s` of *our* monotonic
clock. Neither a skewed nor a jumping clock matters.

A holder that was taken over while it hung finds the higher number before its next write, and stops.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from gen_searcher.errors import LeaseHeld, LeaseLost, StopRun, disk_trouble

log = logging.getLogger(__name__)

BEAT_S = 2.0
"""Between two signs of life."""
EXPIRY_S = 30.0
"""Without a sign of life after which a holder is taken for gone: long enough for a shared disk that stalls."""
_POLL_S = 0.1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = "/proc/self/ns/pid"
_START_FIELD = 19
"""Of /proc/PID/stat after the command's name: when the process began, in ticks since boot; the first is its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds, or held, the lease."""

    token: int
    host: str
    place: str
    """Host, boot and process namespace: equal places see the same process ids."""
    pid: int
    started: str
    """When the process began, as its kernel says it; two processes of one id differ in it."""
    since: str
    """UTC, for people."""
    beat: int = 0
    is_released: bool = False


_HOLDER = TypeAdapter(Holder)


class RunLease:
    """The right to write, for the length of a `with` block."""

    def __init__(self, folder: Path, holder: Holder, *, beat_s: float) -> None:
        """Use `acquire`."""
        self._folder = folder
        self._holder = holder
        self._beat_s = beat_s
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="run-lease", daemon=True)

    @classmethod
    def acquire(cls, folder: Path, *, beat_s: float = BEAT_S, expiry_s: float = EXPIRY_S) -> Self:
        """Take the lease; watches a holder that may be alive until it shows a sign of life or `expiry_s` have passed.

        Raises:
            LeaseHeld: Somebody holds it; says who.
            StopRun: The folder cannot be written; a DiskTrouble when the disk is why.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while True:
                token = _newest(folder)
                if token:
                    _wait_until_gone(folder, token, expiry_s=expiry_s)
                holder = _myself(token + 1)
                if _claim(folder, holder):
                    break
        except OSError as error:
            hint = f"{folder}: {error.strerror}; the run directory must be writable"
            raise disk_trouble(error, at=folder) or StopRun(hint) from error
        for old in _tokens(folder):
            if old < token:  # the one before us stays, for people who ask who that was
                _file(folder, old).unlink(missing_ok=True)
        for unfinished in folder.glob("*.claim"):  # of processes killed at that point, or of rivals that lost
            unfinished.unlink(missing_ok=True)
        lease = cls(folder, holder, beat_s=beat_s)
        lease._beating.start()
        return lease

    @property
    def token(self) -> int:
        """Larger than that of every earlier holder."""
        return self._holder.token

    def check(self) -> None:
        """Raises LeaseLost once a newer holder is there."""
        newest = _newest(self._folder)
        if newest > self.token:
            raise LeaseLost(
                f"{_described(_read(self._folder, newest))} has taken over {self._folder.parent} from this process, which "
                f"had not shown a sign of life; this process has stopped writing"
            )

    def release(self) -> None:
        """Let the next one start at once."""
        self._ended.set()
        self._beating.join()
        try:
            _write(self._folder, replace(self._holder, is_released=True))
        except OSError as error:  # the next one waits until it is clear that we are gone
            log.warning("the lease in %s could not be released: %s", self._folder, error)

    def __enter__(self) -> Self:
        """Held already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release."""
        self.release()

    def _beat(self) -> None:
        while not self._ended.wait(self._beat_s):
            self._holder = replace(self._holder, beat=self._holder.beat + 1)
            try:
                _write(self._folder, self._holder)
            except OSError as error:
                log.warning("the sign of life in %s could not be written: %s", self._folder, error)


def _wait_until_gone(folder: Path, token: int, *, expiry_s: float) -> None:
    """Return once the holder is gone, or was when we looked. Raises LeaseHeld when it lives."""
    first = _read(folder, token)
    watched_s = time.monotonic()
    while True:
        holder = _read(folder, token)
        if holder is not None and (holder.is_released or _has_died(holder)):
            return
        if holder != first and first is not None:
            raise LeaseHeld(
                f"{folder.parent} is being written by {_described(holder)}. Wait for it, stop it, or use another run_dir"
            )
        if time.monotonic() - watched_s > expiry_s:
            log.warning("%s has not shown a sign of life for %g s: taking over", _described(holder), expiry_s)
            return
        first = holder
        time.sleep(_POLL_S)


def _has_died(holder: Holder) -> bool:
    """Certain only where we can look: its process id means something in its own place alone."""
    return holder.place == _place() and _started(holder.pid) != holder.started


def _myself(token: int) -> Holder:
    pid = os.getpid()
    return Holder(
        token=token,
        host=socket.gethostname(),
        place=_place(),
        pid=pid,
        started=_started(pid),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _place() -> str:
    return f"{socket.gethostname()} {_BOOT_ID.read_text().strip()} {os.readlink(_PID_NAMESPACE)}"


def _started(pid: int) -> str:
    """Empty for a process that is not there, or is there only until its parent asks how it ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[_START_FIELD]


def _claim(folder: Path, holder: Holder) -> bool:
    """Give our file the number, whole, unless somebody else was first."""
    part = folder / f"{holder.token:08d}.{holder.host}-{holder.pid}.claim"
    try:
        part.write_text(_text(holder))
        os.link(part, _file(folder, holder.token))
    except (FileExistsError, FileNotFoundError):  # somebody has the number, and may have cleared our attempt away
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


def _write(folder: Path, holder: Holder) -> None:
    """Over our own file; a reader sees the old one or the new one. A full disk takes what fits into the old one's place."""
    path = _file(folder, holder.token)
    part = path.with_suffix(".part")
    try:
        part.write_text(_text(holder))
        part.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        part.unlink(missing_ok=True)
        with path.open("r+b", buffering=0) as file:
            file.write(_text(holder).encode().ljust(path.stat().st_size))


def _read(folder: Path, token: int) -> Holder | None:
    """None once it is superseded, or when it is damaged."""
    try:
        return _HOLDER.validate_json(_file(folder, token).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _text(holder: Holder) -> str:
    return json.dumps(asdict(holder))


def _described(holder: Holder | None) -> str:
    if holder is None:
        return "another process"
    return f"process {holder.pid} on {holder.host} (since {holder.since})"


def _newest(folder: Path) -> int:
    return max(_tokens(folder), default=0)


def _tokens(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()]


def _file(folder: Path, token: int) -> Path:
    return folder / f"{token:08d}.json"
