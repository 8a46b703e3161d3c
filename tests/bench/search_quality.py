"""How well the embedded world's search finds what it holds: `python -m tests.bench.search_quality [--quick]`.

Tasks of every family are drafted as they come, also those that a task file would leave out because their search fails.
For each the facts and the pictures are asked for twice: in the teacher's words, and as a question in plain English.
Prints a table per category and, as the last line, shares over all categories as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from gen_searcher.world.bindings import bindings
from gen_searcher.world.families import fill
from gen_searcher.world.index import page_index, picture_index
from gen_searcher.world.more_families import ALL_FAMILIES
from gen_searcher.world.relations import picture_query, question, subject_in, value_in
from gen_searcher.world.tasks import Draft, category_of, draft, templates
from gen_searcher.world.world import WebPage, World

FIRST = 5

Words = Literal["teacher", "question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactAsked:
    """One end of a fact is known, the other is wanted."""

    relation: str
    known: Literal["subject", "value"]
    word: str
    wanted: str

    def query(self, words: Words) -> str:
        """The teacher's short words, or a question."""
        if words == "teacher":
            return question(self.relation, known=self.known, word=self.word)
        if self.known == "value":
            return f"What has the {self.relation} {self.word}?"
        if self.relation == "capital city":
            return f"Which country has {self.word} as its capital?"
        return f"What is the {self.relation} of {self.word}?"

    def is_on(self, page: WebPage) -> bool:
        """Whether the page states the fact."""
        text = "\n".join(page.sentences)
        if self.known == "subject":
            return value_in(text, relation=self.relation, subject=self.word) == self.wanted
        return subject_in(text, relation=self.relation, value=self.word) == self.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One query, and whether what it was after was among the first."""

    category: str
    what: Literal["page", "picture"]
    words: Words
    is_first: bool
    is_in_first: bool


def drafts(per_family: int, *, seed: int) -> Iterator[Draft]:
    """Tasks of every family, whether search finds their facts or not."""
    pick = random.Random(seed)
    for name in ALL_FAMILIES:
        choices = [one for split in ("train", "template") for one in templates(split, "all") if one.family == name]
        pool = bindings(name)
        for _ in range(per_family):
            made = draft(pick.choice(choices), pick.choice(pool), pick)
            if made is not None:
                yield made


def facts_of(made: Draft) -> Iterator[FactAsked]:
    """Every fact that the plan looks up, the caption's included."""
    slots = made.binding.slots
    for look in made.family.lookups:
        yield FactAsked(relation=look.relation, known=look.known, word=slots[look.of], wanted=slots[look.slot])
    if made.caption_of is not None:
        of = slots[made.caption_of.of]
        yield FactAsked(relation=made.caption_of.relation, known="subject", word=of, wanted=made.caption or "")


def asked(made: Draft, words: Words) -> Iterator[Found]:
    """All queries of a task."""
    category = category_of(made)
    for fact in facts_of(made):
        pages = page_index().find(fact.query(words), limit=FIRST)
        hits = [fact.is_on(page) for page in pages]
        yield Found(category=category, what="page", words=words, is_first=any(hits[:1]), is_in_first=any(hits))
    for entity_id, title in zip(made.binding.entities, made.family.pictures, strict=True):
        name = fill(title, made.binding.slots)
        query = picture_query(name) if words == "teacher" else f"a picture of the {name}"
        right = {entity_id, *World.load().look_alikes(entity_id)}
        hits = [entity.id in right for entity in picture_index().find(query, limit=FIRST)]
        yield Found(category=category, what="picture", words=words, is_first=any(hits[:1]), is_in_first=any(hits))


def share(found: Sequence[Found], *, what: str, words: Words = "teacher", category: str | None = None) -> float | None:
    """In the first five; None when nothing was asked."""
    some = [one for one in found if one.what == what and one.words == words and category in (None, one.category)]
    return fmean(one.is_in_first for one in some) if some else None


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    quick = parser.parse_args(argv).quick
    began = time.perf_counter()
    made = list(drafts(30 if quick else 300, seed=0))
    kinds: tuple[Words, ...] = ("teacher", "question")
    found = [one for words in kinds for each in made for one in asked(each, words)]
    columns: list[tuple[str, Words]] = [(what, words) for words in kinds for what in ("page", "picture")]
    out = sys.stdout.write
    out(
        f"{len(made)} tasks of {len(ALL_FAMILIES)} families, {len(found)} queries, {time.perf_counter() - began:.1f} s\n"
    )
    out(f"in the first {FIRST}:   " + "".join(f"{words + ', ' + what:>20}" for what, words in columns) + "\n")
    categories = sorted({one.category for one in found})
    for category in (*categories, None):
        cells = [share(found, what=what, words=words, category=category) for what, words in columns]
        out(
            f"{category or 'all':18}"
            + "".join(f"{'-' if cell is None else f'{cell:.3f}':>20}" for cell in cells)
            + "\n"
        )
    firsts = {
        what: fmean(one.is_first for one in found if one.what == what and one.words == "teacher")
        for what in ("page", "picture")
    }
    out(f"very first in the teacher's words: page {firsts['page']:.3f}, picture {firsts['picture']:.3f} (by design)\n")
    report = {
        "page_in_first_five": share(found, what="page"),
        "picture_in_first_five": share(found, what="picture"),
        "question_page_in_first_five": share(found, what="page", words="question"),
        "question_picture_in_first_five": share(found, what="picture", words="question"),
        "by_category": {
            category: {what: share(found, what=what, category=category) for what in ("page", "picture")}
            for category in categories
        },
        "queries": len(found),
    }
    out(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
