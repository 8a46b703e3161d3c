"""What a replay found, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gen_searcher.train.replay import Agreement, Check, MemberChecks

COLUMNS = ("record", "picture", "drawing", "judgement", "reward", "advantage")
"""Of a member's row; a column that no member has is left out."""
TASK_CHARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNumbers:
    """What the learner made of one step."""

    step: int
    checks: tuple[Check, ...]
    """Loss, gradient norm, then what else differs of a step on the way."""
    arithmetic: str | None
    """In words, when it is another than the run's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayTable:
    """A replayed step as a whole."""

    state: str
    """Which weights the replay started from."""
    members: tuple[MemberChecks, ...]
    """Of the step that was asked for."""
    numbers: tuple[StepNumbers, ...]
    """Of every step on the way, the one that was asked for last."""

    @property
    def agrees(self) -> bool:
        """Nothing differs."""
        checks = [check for each in (*self.members, *self.numbers) for check in each.checks]
        return all(check.agreement is not Agreement.DIFFERS for check in checks)

    def __str__(self) -> str:
        """Rows of members, rows of steps, then every difference with both values."""
        return "\n".join([*self._members(), "", *self._steps(), "", *self._end()])

    def _members(self) -> Iterator[str]:
        seen = {check.column for each in self.members for check in each.checks}
        columns = [column for column in COLUMNS if column in seen]
        header = ["step", "task", "member", "seed", *columns]
        step = str(self.numbers[-1].step)
        rows = [
            [step, shortened(each.task_id), str(each.member), str(each.seed), *(_cell(each, name) for name in columns)]
            for each in self.members
        ]
        yield from aligned([header, *rows])

    def _steps(self) -> Iterator[str]:
        rows = [[str(each.step), *(_number(check) for check in each.checks[:2])] for each in self.numbers]
        yield from aligned([["step", "loss", "gradient norm"], *rows])
        yield f"from {self.state}"
        other = {each.arithmetic for each in self.numbers if each.arithmetic is not None}
        yield from sorted(other)

    def _end(self) -> Iterator[str]:
        found = [
            *(line for each in self.numbers for line in _differences(f"step {each.step}", each.checks)),
            *(
                line
                for each in self.members
                for line in _differences(
                    f"step {self.numbers[-1].step}, task {each.task_id}, member {each.member}", each.checks
                )
            ),
        ]
        yield from found
        count = f"{len(found)} things differ" if len(found) > 1 else "one thing differs"
        yield "everything agrees" if self.agrees else count


def _cell(member: MemberChecks, column: str) -> str:
    """The worst of the column's checks, and how many there are."""
    checks = [check for check in member.checks if check.column == column]
    if not checks:
        return "-"
    differing = sum(check.agreement is Agreement.DIFFERS for check in checks)
    if differing:
        return f"{Agreement.DIFFERS} {differing} of {len(checks)}" if len(checks) > 1 else str(Agreement.DIFFERS)
    return (
        f"{Agreement.EQUAL} {checks[0].recorded}"
        if column in ("reward", "advantage")
        else f"{Agreement.EQUAL} {len(checks)}"
    )


def _number(check: Check) -> str:
    here = f" (here {check.replayed})" if check.agreement is Agreement.CLOSE else ""
    return f"{check.agreement} {check.recorded}{here}"


def _differences(where: str, checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        if check.agreement is Agreement.DIFFERS:
            yield f"{where}, {check.what}: recorded {check.recorded}, replayed {check.replayed}"


def shortened(text: str) -> str:
    """At most `TASK_CHARS` characters."""
    return text if len(text) <= TASK_CHARS else f"{text[: TASK_CHARS - 1]}…"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Cells in columns, two spaces between them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
