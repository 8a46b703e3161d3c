"""Who failed.

- The **policy**: an `Outcome` on the trajectory. It earns a reward and a gradient; nothing is raised.
- The **world** (a provider, a page server, a generator, a judge, a dead actor): `WorldError`, raised at the
  adapter, recorded once as `Lost` in `train/attempt.py`. It never becomes a number.
- The **user** (config, task file, missing key): `UserError`, shown on one screen, before anything is spent. Its child
  `StopRun` ends a run that is under way, with everything saved: a judge that is retired cannot be mended by trying again.
- **Us**: any other exception. A bug crashes.

All of them take one message argument beside keywords with defaults, so that they survive pickling between actors.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import ClassVar

from gen_searcher.web import writable

EXIT_INTERRUPTED = 75
"""The run can be continued by the same command (what schedulers read as: try again)."""


CUT_OFF = "cut_off"
"""Stage of a member that was given up because most of its group had ended: our own doing, see `train/tail.py`."""
TOO_LATE = "its step had enough other groups; see grpo.oversample"
"""What such a member says when its whole group was given up: what is left of the group is a fragment."""


class WorldError(Exception):
    """Something outside the policy failed; the attempt is lost, not wrong."""

    passes: ClassVar[bool] = True
    """Whether the same request may succeed once the world is well again. False where only another request would."""

    def __init__(self, message: str, stage: str = "world") -> None:
        """`stage` names where it happened: search, image_search, browse, generate, judge, actor."""
        message = writable(message)  # a stranger's words, which the ledger keeps
        super().__init__(message, stage)
        self.message = message
        self.stage = stage

    def __str__(self) -> str:
        """The stage, then what happened."""
        return f"{self.stage}: {self.message}"


class ActorGone(WorldError):
    """A worker died, or hung and was killed, with a call in flight; Ray restarts it."""

    def __init__(self, message: str, stage: str = "actor") -> None:
        """The stage is `actor`."""
        super().__init__(message, stage)


class EngineDead(WorldError):
    """The policy's engine died and its worker lives: it can do nothing until it is started again, with a new engine."""

    def __init__(self, message: str, stage: str = "policy") -> None:
        """The stage is `policy`."""
        super().__init__(message, stage)


class ProviderError(WorldError):
    """A search provider, page reader or picture host did not do its job; the subclass says what would mend it."""


class ProviderDown(ProviderError):
    """No connection, no answer in time, a server error, or an answer that broke off: another try may mend it."""


class ProviderOverloaded(ProviderError):
    """Too many requests: another try may mend it, but not before `retry_after_s`."""

    def __init__(self, message: str, stage: str = "world", retry_after_s: float | None = None) -> None:
        """`retry_after_s`: seconds the server asks us to wait; None when it does not say."""
        super().__init__(message, stage)
        self.retry_after_s = retry_after_s


class Refusal(StrEnum):
    """Why a provider serves us no longer."""

    KEY = "key"
    """The key is missing, wrong or revoked, or may not do this."""
    QUOTA = "quota"
    """The account has no credits left."""


class ProviderRefused(ProviderError):
    """The provider turns us away: no try mends it, somebody must see to the key or the account."""

    def __init__(self, message: str, stage: str = "world", refusal: Refusal = Refusal.KEY) -> None:
        """`refusal`: what somebody must see to."""
        super().__init__(message, stage)
        self.refusal = refusal


class ProviderInvalid(ProviderError):
    """A request that the provider does not understand, or an answer that is not in the form it documents."""


class GeneratorError(WorldError):
    """The image model failed to draw."""

    def __init__(self, message: str, stage: str = "generate") -> None:
        """The stage is `generate` unless a caller knows better."""
        super().__init__(message, stage)


class GeneratorUnavailable(GeneratorError):
    """The image model could not be reached or broke down; the same request may succeed later."""


class GeneratorOverloaded(GeneratorError):
    """The image model has too much to do."""

    def __init__(self, message: str, stage: str = "generate", *, retry_after_s: float | None = None) -> None:
        """`retry_after_s` is what the model asked for; None when it did not say."""
        super().__init__(message, stage)
        self.retry_after_s = retry_after_s


class GeneratorRefused(GeneratorError):
    """The image model declined the content. In an attempt this is the policy's outcome: recorded, worth nothing."""


class GeneratorInvalid(GeneratorError):
    """The image model cannot take this request (length, size, number of references); repeating it is of no use."""

    passes: ClassVar[bool] = False


class JudgeError(WorldError):
    """A judge gave no usable verdict."""

    def __init__(self, message: str, stage: str = "judge") -> None:
        """The stage is `judge` unless a caller knows better."""
        super().__init__(message, stage)


class JudgeUnavailable(JudgeError):
    """No answer came (a timeout, a broken connection, a server error); another try may mend it."""


class JudgeOverloaded(JudgeUnavailable):
    """The judge's server asks for patience (429, 503); `retry_after_s` is what it said, None when it said nothing."""

    def __init__(self, message: str, stage: str = "judge", retry_after_s: float | None = None) -> None:
        """`retry_after_s` travels with the error so that a caller can wait as long as it was told."""
        super().__init__(message, stage)
        self.args = (self.message, stage, retry_after_s)
        self.retry_after_s = retry_after_s


class JudgeInvalid(JudgeError):
    """An answer came and is no verdict (prose, half a JSON, a score off the scale); another try may mend it."""


class JudgeUnable(JudgeError):
    """The judge cannot take this question (its length, a picture, a task without what it judges by), now or later."""

    passes: ClassVar[bool] = False


class JudgeRefused(JudgeError):
    """The judge's model or its content filter declines this picture or text; asking again does not help."""

    passes: ClassVar[bool] = False


class UserError(Exception):
    """The user can fix this; `exit_code` follows the README's table (2 bad input, 3 preflight failed)."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        """`message` says what was found, where, and what to write instead."""
        super().__init__(message, exit_code)
        self.message = message
        self.exit_code = exit_code

    def __str__(self) -> str:
        """The message alone."""
        return self.message


class StopRun(UserError):
    """Going on would spend and learn nothing: the run ends, its state is kept, and the user can mend the cause."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        """The exit code is 3 (cannot start or go on) unless a caller knows better."""
        super().__init__(message, exit_code)


class Outage(StopRun):
    """The world was down for longer than the run may wait. Everything is saved; the same command goes on."""

    def __init__(self, message: str, exit_code: int = EXIT_INTERRUPTED) -> None:
        """`message` says what is down, since when, and how to go on."""
        super().__init__(message, exit_code)


class DiskTrouble(StopRun):
    """The disk of the run is full, read-only or gone. What is saved stays as it is; the run goes on once it is mended."""


_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EFBIG})
"""Errors that only files have."""
_FILE = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTCONN, errno.ENODEV, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors that sockets and processes have too: of a disk when they name a file."""


def disk_trouble(error: OSError, *, at: object = None) -> DiskTrouble | None:
    """What a run ends with when its disk is why `error` was raised; None for another reason.

    `at` is the file, for errors that do not name it: a write that fails knows none.
    """
    place = error.filename if at is None else at
    if error.errno not in _DISK and not (error.errno in _FILE and place is not None):
        return None
    where = "the disk" if place is None else str(place)
    return DiskTrouble(
        f"{where}: {error.strerror}. What was saved is whole; free space or make the disk writable, then run the same "
        "command again"
    )


def ending_of(error: UserError | WorldError | OSError) -> UserError | None:
    """What a command says and ends with that did not expect this error; None for one that nobody outside has caused."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError):
        return disk_trouble(error)
    if error.passes:
        again = "What was saved is whole; run the same command again once that is mended"
        return StopRun(f"{error}. {again}", exit_code=EXIT_INTERRUPTED)
    return StopRun(f"{error}. No other try of the same command mends that")


class TooManyLost(StopRun):
    """A step found nothing to learn from, and waiting would not change that."""


class WorkersGone(StopRun):
    """Every worker of one kind is dead and out of restarts, or one cannot be built at all."""


class LearnerGone(StopRun):
    """A learner rank died or hangs. Weights and optimizer are in the last checkpoint: the same command goes on from it."""

    def __init__(self, message: str, exit_code: int = EXIT_INTERRUPTED) -> None:
        """`message` says what was asked of it, and how to go on."""
        super().__init__(message, exit_code)


class HeadGone(StopRun):
    """The head of the Ray cluster, or the own node, does not answer: no actor can be asked or started any more."""

    def __init__(self, message: str, exit_code: int = EXIT_INTERRUPTED) -> None:
        """`message` names its address."""
        super().__init__(message, exit_code)


class JudgeGone(StopRun):
    """The judge will not answer this run again: its model is retired or unknown, its key refused, its credit spent."""


class JudgeDrift(StopRun):
    """The judge no longer agrees with the golden set: its scores are not what the run was started on."""


class ConfigError(UserError):
    """The configuration is wrong."""


class GeneratorGone(UserError):
    """The hosted model does not exist (any more): the run stops, and nothing is scored."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        """`message` names the model."""
        super().__init__(message, exit_code)


class DataError(UserError):
    """A task file or data set is wrong; the message names the file and the line."""


class BudgetSpent(UserError):
    """The next call would pass a spending limit; nothing more is bought. A larger budget lets the run go on."""

    def __init__(self, message: str, exit_code: int = 4) -> None:
        """`message` names the provider, what is committed, and the setting to raise."""
        super().__init__(message, exit_code)


class ProviderClosed(UserError):
    """A provider turned us away for good in mid-run: somebody must see to the key (3) or the account (4)."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        """`message` names the provider and repeats what it said."""
        super().__init__(message, exit_code)


class ReplayMiss(UserError):
    """The cassette does not hold an answer that a replay asks for; no call was made."""


class LeaseHeld(UserError):
    """Another process writes this run directory."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        """`message` names host, process and since when."""
        super().__init__(message, exit_code)


class LeaseLost(StopRun):
    """Another process has taken over this run directory; what this one would still write is not wanted any more."""


class Interrupted(StopRun):
    """The run was asked to end; the same command continues it."""

    def __init__(self, message: str, exit_code: int = 75) -> None:
        """75 is what schedulers read as: run me again."""
        super().__init__(message, exit_code)
