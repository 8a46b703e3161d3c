"""A step once more: RecordedStep -> pictures verified, attempts judged, rewards and advantages made again -> what agrees.

Every stage starts from what is on record of the one before, so that a difference is named where it is and does not
spread: the judges see the recorded picture, a reward is made of the new judgements, an advantage of the new rewards.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.drawing import DrawnHow
from gen_searcher.errors import UserError, WorldError
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.grpo.pictures import PictureRules
from gen_searcher.image_store import ImageStore, picture_ref
from gen_searcher.protocols import Judge
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.train.attempt import Compose, without_evidence
from gen_searcher.train.recorded import RecordedGroup, RecordedMember, RecordedStep
from gen_searcher.train.step_log import StepLine
from gen_searcher.train.useful import without_picture
from gen_searcher.types import Attempt, Grounding, Group, ImageRef, Judgement, Reward, StepReport, Task

Redraw = Callable[[Grounding, int], Awaitable[ImageRef]]
"""Grounding and picture seed -> the picture drawn again; nothing is stored."""

PICTURE = "picture"
UNREADABLE = "unreadable"
NOT_COMPUTED = "not computed: the pictures are not those that were trained on"


class Agreement(StrEnum):
    """How what was made again compares with what is on record."""

    EQUAL = "="
    """The same bits."""
    CLOSE = "close"
    """Other bits, from another arithmetic, within its tolerance."""
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was made again."""

    what: str
    """`record`, `picture`, `reward`, `advantage`, `loss` and the like, the finer name behind a dot."""
    recorded: str
    replayed: str
    agreement: Agreement

    @property
    def column(self) -> str:
        """What a table gathers it under."""
        return self.what.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberChecks:
    """All checks of one attempt."""

    task_id: str
    member: int
    """Place in the group, from 1."""
    seed: int
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedStep:
    """A step's groups with the rewards that were made again, and what of them agrees."""

    groups: tuple[Group, ...]
    members: tuple[MemberChecks, ...]

    @property
    def has_views(self) -> bool:
        """Every picture that the learner reads is the one that was trained on."""
        views = {
            f"{PICTURE}.{short(view)}" for group in self.groups for each in group.attempts for view in views_of(each)
        }
        return not any(
            check.what in views and check.agreement is Agreement.DIFFERS
            for each in self.members
            for check in each.checks
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayer:
    """Makes rewards and advantages again."""

    store: ImageStore
    judges: Sequence[Judge]
    compose: Compose
    objective: ObjectiveConfig
    pictures: PictureRules | None = None
    """Of a run that draws only what can move the policy; None of one that draws everything."""
    redraw: Redraw | None = None
    """None: the stored pictures are verified and not drawn again."""

    async def step(self, recorded: RecordedStep) -> ReplayedStep:
        """All groups of the step, one after the other."""
        groups: list[Group] = []
        members: list[MemberChecks] = []
        for recorded_group in recorded.groups:
            attempts, checks = await self._group(recorded_group)
            groups.append(replace(recorded_group.as_trained(), attempts=attempts))
            members += checks
        return ReplayedStep(groups=tuple(groups), members=tuple(members))

    def spoiled(self, recorded: RecordedStep) -> list[Check]:
        """What of a step's record is not as it was trained on, pictures that the learner reads included."""
        checks: list[Check] = []
        for group in recorded.groups:
            for member in group.members:
                where = f"task {group.task.id}, seed {member.attempt.seed}"
                checks.append(compare_words(f"record of {where}", member.trained_sha256, member.sha256))
                checks += [
                    compare_words(f"{PICTURE} of {where}", view.sha256, self._found(view))
                    for view in views_of(member.attempt)
                ]
        return [check for check in checks if check.agreement is Agreement.DIFFERS]

    async def _group(self, recorded: RecordedGroup) -> tuple[tuple[Attempt, ...], list[MemberChecks]]:
        made = await asyncio.gather(*(self._member(recorded.task, member) for member in recorded.members))
        attempts = tuple(attempt for attempt, _ in made)
        again = attempt_advantages(replace(recorded.as_trained(), attempts=attempts), self.objective)
        return attempts, [
            MemberChecks(
                task_id=recorded.task.id,
                member=place,
                seed=member.attempt.seed,
                checks=(*checks, compare("advantage", member.advantage, advantage)),
            )
            for place, (member, (_, checks), advantage) in enumerate(
                zip(recorded.members, made, again, strict=True), start=1
            )
        ]

    async def _member(self, task: Task, member: RecordedMember) -> tuple[Attempt, list[Check]]:
        """The attempt with its reward made again, and what of it agrees."""
        attempt = member.attempt
        checks = [compare_words("record", member.trained_sha256, member.sha256)]
        found = {picture: self._found(picture) for picture in pictures_of(attempt)}
        checks += [compare_words(f"{PICTURE}.{short(picture)}", picture.sha256, found[picture]) for picture in found]
        try:
            if self.redraw is not None and not any(digest.startswith(UNREADABLE) for digest in found.values()):
                checks += await self._drawn(attempt, self.redraw)
            if attempt.image is not None and found[attempt.image].startswith(UNREADABLE):
                return attempt, [*checks, compare_words("reward", repr(attempt.reward.total), "no picture to judge")]
            judgements = await self._judged(task, attempt)
            reward = self._reward(attempt, judgements)
        except WorldError as error:
            raise UserError(
                f"task {task.id}, attempt of seed {attempt.seed} cannot be judged again: {error}", exit_code=3
            ) from error
        checks += [*judgement_checks(attempt.judgements, judgements), *reward_checks(attempt.reward, reward)]
        return replace(attempt, reward=reward), checks

    def _found(self, picture: ImageRef) -> str:
        """Digest of what the store holds under that name."""
        try:
            return picture_ref(self.store.get(picture)).sha256
        except FileNotFoundError:
            return f"{UNREADABLE}: the file is missing"
        except (OSError, SyntaxError, ValueError) as error:
            return f"{UNREADABLE}: {error}"

    async def _drawn(self, attempt: Attempt, redraw: Redraw) -> list[Check]:
        grounding, drawing = attempt.trajectory.grounding, attempt.drawing
        if attempt.image is None or grounding is None or drawing is None or drawing.seed is None:
            return []
        again = await redraw(grounding, drawing.seed)
        return [compare_words("drawing", attempt.image.sha256, again.sha256)]

    async def _judged(self, task: Task, attempt: Attempt) -> tuple[Judgement, ...]:
        """Ask whoever was asked: nobody without a grounding or after a refusal, the image judge only with a picture."""
        if attempt.trajectory.grounding is None or how_of(attempt) is DrawnHow.REFUSED:
            return ()
        shown = without_evidence(attempt.trajectory)
        asked = [judge for judge in self.judges if attempt.image is not None or judge.name != IMAGE]
        return tuple(
            [
                await judge.judge(task, shown, attempt.image if self.pictures is None or judge.name == IMAGE else None)
                for judge in asked
            ]
        )

    def _reward(self, attempt: Attempt, judgements: Sequence[Judgement]) -> Reward:
        how = how_of(attempt)
        if how is DrawnHow.REFUSED:
            return Reward(total=0.0, parts={})
        if how is DrawnHow.SKIPPED and self.pictures is not None:
            return without_picture(judgements, self.pictures)
        return self.compose(attempt.trajectory, judgements)


def short(picture: ImageRef) -> str:
    """Enough of the digest to find it."""
    return picture.sha256[:12]


def is_picture(check: Check) -> bool:
    """Whether the check held a stored picture against its digest."""
    return check.what.startswith(PICTURE)


def how_of(attempt: Attempt) -> DrawnHow | None:
    """How the attempt came by its picture; None when it never asked for one."""
    return None if attempt.drawing is None else attempt.drawing.how


def views_of(attempt: Attempt) -> list[ImageRef]:
    """The pictures that the learner reads."""
    return [view for turn in attempt.trajectory.turns for view in turn.images]


def pictures_of(attempt: Attempt) -> list[ImageRef]:
    """Every picture that the attempt's tokens, drawing or reward depend on, each once."""
    grounding = attempt.trajectory.grounding
    references = [] if grounding is None else [reference.image for reference in grounding.references]
    drawn = [] if attempt.image is None else [attempt.image]
    return list(dict.fromkeys([*views_of(attempt), *references, *drawn]))


def judgement_checks(recorded: Sequence[Judgement], again: Sequence[Judgement]) -> list[Check]:
    """Scores and their parts, judge by judge; latency and cost are not part of a verdict."""
    before = {judgement.judge: judgement for judgement in recorded}
    now = {judgement.judge: judgement for judgement in again}
    checks = [compare_words("judgement", " ".join(sorted(before)), " ".join(sorted(now)))]
    for name in sorted(before.keys() & now.keys()):
        checks.append(compare(f"judgement.{name}", before[name].score, now[name].score))
        checks += [
            compare(f"judgement.{name}.{part}", before[name].parts.get(part), now[name].parts.get(part))
            for part in sorted(before[name].parts.keys() | now[name].parts.keys())
        ]
    return checks


def reward_checks(recorded: Reward, again: Reward) -> list[Check]:
    """The total and its parts."""
    names = sorted(recorded.parts.keys() | again.parts.keys())
    parts = [compare(f"reward.{name}", recorded.parts.get(name), again.parts.get(name)) for name in names]
    return [compare("reward", recorded.total, again.total), *parts]


def learner_checks(line: StepLine, report: StepReport, *, tolerance: float) -> tuple[Check, Check]:
    """Loss and gradient norm: bit for bit, or within `tolerance` when another arithmetic made them."""
    allowed = 0.0 if line.arithmetic == report.arithmetic else tolerance
    return (
        compare("loss", line.loss, report.loss, tolerance=allowed),
        compare("grad_norm", line.grad_norm, report.grad_norm, tolerance=allowed),
    )


def not_computed(line: StepLine) -> tuple[Check, Check]:
    """For a step whose pictures are gone or changed."""
    return (
        compare_words("loss", repr(line.loss), NOT_COMPUTED),
        compare_words("grad_norm", repr(line.grad_norm), NOT_COMPUTED),
    )


def compare(what: str, recorded: float | None, replayed: float | None, *, tolerance: float = 0.0) -> Check:
    """Bits first; then, with a tolerance, relative to the larger one, or to 1 where both are smaller."""
    if recorded is None or replayed is None:
        return compare_words(what, repr(recorded), repr(replayed))
    agreement = Agreement.DIFFERS
    if struct.pack("<d", recorded) == struct.pack("<d", replayed):
        agreement = Agreement.EQUAL
    elif math.isclose(recorded, replayed, rel_tol=tolerance, abs_tol=tolerance):
        agreement = Agreement.CLOSE
    return Check(what=what, recorded=repr(recorded), replayed=repr(replayed), agreement=agreement)


def compare_words(what: str, recorded: str, replayed: str) -> Check:
    """Equal or not."""
    agreement = Agreement.EQUAL if recorded == replayed else Agreement.DIFFERS
    return Check(what=what, recorded=recorded, replayed=replayed, agreement=agreement)
