"""When the world is down: groups of a step -> too many lost? -> how long it is waited for, and what is said about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gen_searcher.errors import Outage, TooManyLost
from gen_searcher.types import Group

LONGEST_RETRY_S = 120.0
"""The pause between two probes grows up to this: an outage of an hour needs no more than thirty of them."""
_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageRules:
    """What is an outage, and how long one is waited for."""

    max_lost_frac: float
    """Share of a step's attempts that may stay lost in all their tries: a little lost is data, more is an outage. All of
    them lost is an outage in any case. An attempt that a later try made up for does not count."""
    wait_s: float = 1800.0
    """Longest wait in one outage."""
    retry_s: float = 5.0
    """Pause before the lost members are tried again the first time; doubles up to `LONGEST_RETRY_S`."""

    def pause_s(self, probe: int) -> float:
        """Before probe number `probe`, from 0."""
        return min(LONGEST_RETRY_S, self.retry_s * 2**probe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What the groups of a step lost for good so far."""

    members: int
    """Attempts, scored or given up."""
    given_up: int
    hopeless: int
    """Those of `given_up` that no waiting mends."""
    reasons: tuple[str, ...]
    """Stage and error of the last try, most frequent first."""

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Losses:
        """Count them."""
        last = [
            next(lost for lost in reversed(group.lost) if lost.seed == seed)
            for group in groups
            for seed in group.given_up
        ]
        reasons = Counter(f"{lost.stage}: {_short(lost.error)}" for lost in last)
        return cls(
            members=sum(len(group.attempts) + len(group.given_up) for group in groups),
            given_up=len(last),
            hopeless=sum(len(group.hopeless) for group in groups),
            reasons=tuple(reason for reason, _ in reasons.most_common()),
        )

    def is_outage(self, rules: OutageRules) -> bool:
        """Whether the step cannot go on with what is left.

        Raises:
            TooManyLost: It cannot, and no waiting would mend it.
        """
        if self._is_too_many(self.hopeless, rules):
            raise TooManyLost(
                f"{self.hopeless} of {self.members} attempts of this step can never be scored, the limit is "
                f"cluster.max_lost_frac={rules.max_lost_frac:g}. Most often: {self.reasons[0]}. All reasons are in "
                "attempts.jsonl"
            )
        return self._is_too_many(self.given_up, rules)

    def _is_too_many(self, count: int, rules: OutageRules) -> bool:
        return count > rules.max_lost_frac * self.members or 0 < self.members == count


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One outage, from its beginning."""

    rules: OutageRules
    since: datetime
    """UTC."""
    started_s: float
    """On the clock of the loop."""

    def left_s(self, now_s: float) -> float:
        """How much longer is waited."""
        return max(0.0, self.started_s + self.rules.wait_s - now_s)

    def says(self, losses: Losses) -> str:
        """One line for the people who watch."""
        return (
            f"outage since {_clock(self.since)}: {losses.given_up} of {losses.members} attempts lost, {losses.reasons[0]}; "
            f"nothing is trained, the lost attempts are tried again for up to {self.rules.wait_s:g} s"
        )

    def note(self, losses: Losses) -> str:
        """The same in a few words."""
        return f"waiting since {self.since:%H:%M:%S} UTC: {losses.reasons[0].partition(':')[0]} down"

    def ended(self, losses: Losses) -> Outage:
        """The end of the run."""
        others = "".join(f"\n  {reason}" for reason in losses.reasons[1:3])
        return Outage(
            f"outage since {_clock(self.since)}, longer than cluster.outage_wait_s={self.rules.wait_s:g}: "
            f"{losses.given_up} of {losses.members} attempts of the step stayed lost\n"
            f"  {losses.reasons[0]}{others}\n"
            "everything is saved, nothing was scored or trained from it; run the same command again to go on"
        )


def begin(rules: OutageRules, *, now_s: float) -> Waiting:
    """An outage begins now."""
    return Waiting(rules=rules, since=datetime.now(tz=UTC), started_s=now_s)


def _clock(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _short(error: str) -> str:
    lines = error.strip().splitlines() or ["no reason given"]
    return lines[-1][:_SHOWN_CHARS]
