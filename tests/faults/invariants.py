"""The invariants of `faults.md` as assertions over a run directory, from its ledger and its line files alone.

I1  every member of every used group has exactly one end: scored once, or given up with a reason
I2  what was lost carries no number
I3  no instance is used by two steps, no step is booked twice, and the files that people read tell the same story
I4  two runs agree in everything counted: the instances of each step, and every reward
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine
from gen_searcher.train.run import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a group by what it is sampled from."""

    visit: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """An instance that a step trained on or passed over."""

    task: str
    state: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What a run directory says of itself."""

    begun: int
    states: Counter[str]
    used: dict[int, Used]
    """By visit."""
    rewards: dict[Member, float]
    """Of the members of used groups that were scored."""
    given_up: frozenset[Member]
    """Of used groups, never scored."""
    lost_tries: int
    """Rows of lost members, made up for or not."""
    issues: Counter[int]
    """Times issued -> instances."""
    steps: list[int]
    """As metrics.jsonl has them."""

    @property
    def unaccounted(self) -> int:
        """Instances begun that stand nowhere."""
        return self.begun - self.states.total()


@dataclass(slots=True, kw_only=True)
class Checked:
    """What all checks of this process have looked at, for the table of `tests.faults.cases`."""

    runs: int = 0
    instances: int = 0
    lost: int = 0


@dataclass(slots=True, kw_only=True)
class _Ends:
    scored: list[Member] = field(default_factory=list[Member])
    lost: set[Member] = field(default_factory=set[Member])


CHECKED = Checked()
TRIES = "tries"
"""Name of the property by which a test says how many faults it has met (`record_property`), when it is not one."""


def check_run(root: Path, *, steps: int, group_size: int, groups_per_step: int | None = None) -> Accounts:
    """Assert I1, I2 and I3 of a run that has ended with `steps` steps. Returns what it says."""
    found = accounts(root)
    unended = [visit for visit, size in _sizes(found).items() if size != group_size]
    CHECKED.runs += 1
    CHECKED.instances += found.begun
    CHECKED.lost += found.unaccounted + len(unended)
    assert found.unaccounted == 0, found.states
    assert not unended, "members of these visits have no end, or one too many"
    assert found.states["running"] == 0
    assert found.steps == list(range(1, steps + 1))
    trained = Counter(used.step for used in found.used.values() if used.state == "trained")
    assert sorted(trained) == found.steps, "every step has trained on something, and nothing beyond the last"
    if groups_per_step is not None:
        assert set(trained.values()) == {groups_per_step}
    _check_ledger(root, found)
    _check_lines(root, found)
    assert not [path for pattern in ("*.partial", "*.old", "*.part") for path in root.rglob(pattern)], "half-written"
    return found


def check_same(found: Accounts, expected: Accounts) -> None:
    """Assert I4: the interrupted run has used the same instances in the same steps, for the same rewards."""
    CHECKED.lost += len(expected.used.keys() - found.used.keys())
    assert found.used == expected.used
    assert found.rewards == expected.rewards
    assert found.given_up == expected.given_up
    assert found.steps == expected.steps


def accounts(root: Path) -> Accounts:
    """Read the ledger without writing it."""
    with _ledger(root) as db:
        rows = db.execute("SELECT visit, task_id, state, step, issues FROM instances").fetchall()
        (begun,) = db.execute("SELECT begun FROM run").fetchone()
        members = db.execute("SELECT visit, kind, seed, reward, place FROM members").fetchall()
    used = {
        visit: Used(task=task, state=state, step=step)
        for visit, task, state, step, _ in rows
        if state in ("trained", "rejected")
    }
    ends = _Ends()
    rewards: dict[Member, float] = {}
    for visit, kind, seed, reward, place in members:
        member = Member(visit=visit, seed=seed)
        assert (kind == "attempt") == (reward is not None), f"I2: {kind} of {member} with the number {reward}"
        if visit not in used or place is None:
            continue
        if kind == "attempt":
            ends.scored.append(member)
            rewards[member] = reward
        else:
            ends.lost.add(member)
    assert len(ends.scored) == len(rewards), "I1: a member was scored twice"
    metrics = RunFolder(root=root).metrics
    return Accounts(
        begun=begun,
        states=Counter(row[2] for row in rows),
        used=used,
        rewards=rewards,
        given_up=frozenset(ends.lost - rewards.keys()),
        lost_tries=sum(row[1] == "lost" for row in members),
        issues=Counter(row[4] for row in rows),
        steps=[json.loads(line)["step"] for line in metrics.read_text().splitlines()],
    )


def _sizes(found: Accounts) -> dict[int, int]:
    """Members of each used visit that have an end."""
    ended = Counter(member.visit for member in (*found.rewards, *found.given_up))
    return {visit: ended[visit] for visit in found.used}


def _check_ledger(root: Path, found: Accounts) -> None:
    with _ledger(root) as db:
        booked = [row[0] for row in db.execute("SELECT step FROM steps ORDER BY step").fetchall()]
        tally = dict(db.execute("SELECT state, count FROM tally WHERE count > 0").fetchall())
    assert booked == found.steps, "I3: the ledger has booked other steps than metrics.jsonl has lines of"
    assert tally == dict(found.states)


def _check_lines(root: Path, found: Accounts) -> None:
    """attempts.jsonl tells the same: every scored member of a used group once, in its step, with its reward."""
    told: dict[tuple[str, int], AttemptLine] = {}
    given_up: set[tuple[str, int]] = set()
    for line in map(ATTEMPT_LINE.validate_json, RunFolder(root=root).attempts.read_bytes().splitlines()):
        if line.attempt is None:
            assert line.lost is not None
            assert line.advantage is None, "I2: a lost try has an advantage"
            given_up.add((line.group, line.lost.seed))
            continue
        key = (line.group, line.attempt.seed)
        assert key not in told, f"I1: {key} has two lines"
        told[key] = line
    for member, reward in found.rewards.items():
        used = found.used[member.visit]
        line = told[f"{used.task}-{member.visit}", member.seed]
        assert line.attempt is not None
        assert (line.step, line.attempt.reward.total) == (used.step, reward)
    for member in found.given_up:
        key = (f"{found.used[member.visit].task}-{member.visit}", member.seed)
        assert key in given_up
        assert key not in told, "I2: a member that was given up has a score"


def _ledger(root: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{RunFolder(root=root).ledger}?mode=ro", uri=True))
