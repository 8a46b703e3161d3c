"""Why an attempt failed: its verdict, what counterfactuals scored, what the trace shows -> the link that broke.

The rule, stated once. An attempt fails when its picture has a complaint: a question answered with less than the bar.

1. **judging** explains the complaints that the judge has about the ground truth as well; all of them, where another
   judge has nothing against the picture.
2. **generation** explains those of the rest that the generator's picture of the oracle's grounding has as well.
3. What is left is the agent's. Complaints that stay with the oracle's prompt are the references' fault, those that stay
   with the oracle's references are the prompt's; where neither stays, both may be. The trace says which link that is
   (`trace.py`). A grounding that is right in every part and still drawn wrong is **generation**.

So a link is blamed only for what stays wrong when everything after it is the oracle's. Where several are to blame the
attempt counts for the earliest, and the others are in `also`. An attempt without a grounding counts for what its trace
shows. What cannot be told apart is undecided, with a reason; nothing is blamed by default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gen_searcher.bench.links import CHAIN, Finding, Link, Parts, Swap, complaints, earliest


class Standing(StrEnum):
    """What became of the question."""

    NONE = "none"
    """The attempt did not fail."""
    BROKEN = "broken"
    """A link is to blame."""
    UNDECIDED = "undecided"
    """It failed, and nothing says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Why one attempt failed."""

    standing: Standing
    link: Link | None = None
    """Present exactly when `standing` is `broken`."""
    why: str = ""
    """In words; empty when it did not fail."""
    also: tuple[Link, ...] = ()
    """Other links that were broken too, in the order of the chain."""
    complaints: tuple[str, ...] = ()
    """Questions answered below the bar."""
    mended: Parts | None = None
    """What the verdict would be with `link` mended, as far as a counterfactual says; None unless `broken`."""

    def __post_init__(self) -> None:
        if (self.link is not None) != (self.standing is Standing.BROKEN):
            raise ValueError(f"a {self.standing} attribution with link={self.link!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A failed attempt and all that is known of it."""

    own: Parts
    bar: float
    disagreeing: Parts | None = None
    """The verdict of another judge that has no complaint about the same picture."""
    runs: Mapping[Swap, Parts]
    """Verdicts of the counterfactuals that could be run."""
    of_references: Sequence[Finding] = ()
    """What the trace shows of the references."""
    of_prompt: Sequence[Finding] = ()
    """What it shows of the prompt."""
    of_lacking: Sequence[Finding] = ()
    """What kept it from a grounding; empty with one."""

    @property
    def complaints(self) -> frozenset[str]:
        """About the attempt's own picture."""
        return complaints(self.own, bar=self.bar)

    def still(self, swap: Swap) -> frozenset[str]:
        """Those of its complaints that the counterfactual has as well; none where it was not run."""
        run = self.runs.get(swap)
        return frozenset() if run is None else self.complaints & complaints(run, bar=self.bar)


def attribute(failed: Failed) -> Attribution:
    """The rule of this module."""
    if failed.disagreeing is not None:
        why = "another judge has nothing against the same picture"
        return _broken(failed, Finding(link=Link.JUDGING, why=why), mended=failed.disagreeing)
    if failed.of_lacking:
        return _agents(failed, failed.of_lacking, swaps=[Swap.GROUNDING])
    judged, drawn = failed.still(Swap.PICTURE), failed.still(Swap.GROUNDING)
    if Swap.PICTURE in failed.runs and judged == failed.complaints:
        return _judging(failed)
    if Swap.GROUNDING not in failed.runs:
        return _undecided(failed, "there is no oracle for this task: nothing tells search from generation")
    left = failed.complaints - judged - drawn
    if left:
        return _left(failed, left)
    if Swap.PICTURE not in failed.runs:
        return _undecided(failed, "there is no ground truth: nothing tells generation from judging")
    why = "the oracle's own grounding, drawn with the same seed, is below the bar as well"
    return _broken(failed, Finding(link=Link.GENERATION, why=why), mended=failed.runs[Swap.PICTURE])


def _judging(failed: Failed) -> Attribution:
    """The judge takes from the right picture what it took from this one: that much is given back, and no more."""
    right = failed.runs[Swap.PICTURE]
    given_back = {
        name: value if value is None or name not in failed.complaints else min(1.0, value + 1.0 - (right[name] or 0.0))
        for name, value in failed.own.items()
    }
    finding = Finding(link=Link.JUDGING, why="the judge has the same complaint about the ground truth")
    return _broken(failed, finding, mended=given_back)


def _left(failed: Failed, left: frozenset[str]) -> Attribution:
    """Complaints that the oracle's grounding does not have: the agent's own."""
    by_references, by_prompt = left & failed.still(Swap.PROMPT), left & failed.still(Swap.REFERENCES)
    is_either = not by_references and not by_prompt
    of_references = failed.of_references if by_references or is_either else ()
    of_prompt = failed.of_prompt if by_prompt or is_either else ()
    if not of_references and not of_prompt:
        return _nothing_found(failed)
    link = earliest(finding.link for finding in (*of_references, *of_prompt))
    swaps = [Swap.REFERENCES] if any(finding.link is link for finding in of_references) else []
    swaps += [Swap.PROMPT] if any(finding.link is link for finding in of_prompt) else []
    return _agents(failed, [*of_references, *of_prompt], swaps=swaps)


def _nothing_found(failed: Failed) -> Attribution:
    if not failed.of_references and not failed.of_prompt:
        why = "the grounding is right in every part, the oracle's is drawn well, and this one is not"
        return _broken(failed, Finding(link=Link.GENERATION, why=why), mended=failed.runs[Swap.GROUNDING])
    blamed = "prompt" if failed.of_references else "references"
    return _undecided(failed, f"the counterfactuals blame the {blamed}, and nothing is wrong with them in the trace")


def _agents(failed: Failed, findings: Sequence[Finding], *, swaps: Sequence[Swap]) -> Attribution:
    """The earliest of the findings; `swaps` mend it, both of them together as the oracle's whole grounding."""
    link = earliest(finding.link for finding in findings)
    mended = failed.runs.get(swaps[0] if len(swaps) == 1 else Swap.GROUNDING)
    return _broken(failed, next(finding for finding in findings if finding.link is link), mended=mended)


def _broken(failed: Failed, finding: Finding, *, mended: Parts | None) -> Attribution:
    seen = {one.link for one in (*failed.of_references, *failed.of_prompt, *failed.of_lacking)}
    seen |= {Link.JUDGING} if failed.still(Swap.PICTURE) else set[Link]()
    seen |= {Link.GENERATION} if failed.still(Swap.GROUNDING) - failed.still(Swap.PICTURE) else set[Link]()
    return Attribution(
        standing=Standing.BROKEN,
        link=finding.link,
        why=finding.why,
        also=tuple(link for link in CHAIN if link in seen and link is not finding.link),
        complaints=tuple(sorted(failed.complaints)),
        mended=mended,
    )


def _undecided(failed: Failed, why: str) -> Attribution:
    return Attribution(standing=Standing.UNDECIDED, why=why, complaints=tuple(sorted(failed.complaints)))
