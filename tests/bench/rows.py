"""Scored rows to test figures with."""

from __future__ import annotations

from gen_searcher.bench.scheme import KNOWGEN, POP, SCIENCE
from gen_searcher.bench.scored import Failure, Scored

CATEGORY = {SCIENCE: "biology", POP: "anime"}


def parts(f: float, v: float, t: float | None, a: float) -> dict[str, float | None]:
    return {"faithfulness": f, "visual_correctness": v, "text_accuracy": t, "aesthetics": a}


def row(
    number: int, stratum: str, verdict: dict[str, float | None] | None, *, category: str = "", stage: str = "judge"
) -> Scored:
    return Scored(
        id=str(number),
        prompt=f"p{number}",
        meta={"category": category or CATEGORY.get(stratum, ""), "difficulty": "easy"},
        stratum=stratum,
        parts=verdict,
        failure=None if verdict is not None else Failure(stage=stage, what="planted"),
    )


__all__ = ["KNOWGEN", "POP", "SCIENCE", "parts", "row"]
