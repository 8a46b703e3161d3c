from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gen_searcher.metrics.report import write_report
from gen_searcher.metrics.report.read import read_entries
from gen_searcher.metrics.report.why import FailedCase, read_whys

if TYPE_CHECKING:
    from .conftest import FixtureRun

COUNTRIES = ("Poland", "France", "Italy", "Germany")


def attempts(run: FixtureRun) -> Path:
    return run.lines("bench/attempts-sft+grpo.jsonl", [run.line(one, score=0.25) for one in COUNTRIES])


def analysis(file: Path, cases: Sequence[dict[str, object]]) -> dict[str, object]:
    return {
        "arm": "sft+grpo",
        "attempts_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bar": 0.6,
        "k_score": 41.5,
        "attempts": 4,
        "failed": 3,
        "undecided": 1,
        "lost": 0,
        "links": [
            {"link": "search", "attempts": 2, "also": 0, "share": 2 / 3, "lost": 30.0, "rise": 15.0},
            {"link": "reading", "attempts": 0, "also": 1, "share": 0.0, "lost": None, "rise": 0.0},
        ],
        "cases": list(cases),
    }


def cases(file: Path) -> list[dict[str, object]]:
    entries = read_entries(file, notes=[])
    links = ("search", "search", None)
    return [
        {
            "offset": entry.offset,
            "link": link,
            "why": f"<b>{entry.task_id}",
            "also": ["reading"],
            "k": 20.0,
            "mended_k": k,
        }
        for entry, link, k in zip(entries, links, (30.0, 60.0, None), strict=False)
    ]


def test_the_page_says_which_links_broke_and_leads_to_the_attempts_that_lost_most(run: FixtureRun) -> None:
    file = attempts(run)
    entries = read_entries(file, notes=[])
    run.text("bench/analysis-sft+grpo.json", json.dumps(analysis(file, cases(file))))
    html = write_report(run.root).read_text()
    part = html[html.index('<section id="why-0"') :].partition("</section>")[0]
    assert "3 of 4 attempts have faithfulness, visual correctness or text accuracy below 0.6" in part
    assert "67% of failed attempts" in part
    assert "+15.00" in part
    assert "undecided" in part
    samples = [f"#attempt=sft%2Bgrpo.0.{entries[place].offset}" for place in (1, 0, 2)]
    assert [part.index(link) for link in samples] == sorted(part.index(link) for link in samples)
    assert "<b>" not in html.partition('id="data-attempts"')[2].partition("</script>")[0]
    assert "search: \\u003cb\\u003eflag-france (also broken: reading)" in html


def test_an_analysis_of_other_attempts_is_left_out_and_said(run: FixtureRun) -> None:
    file = attempts(run)
    run.text("bench/analysis-sft+grpo.json", json.dumps(analysis(file, [])))
    with file.open("a") as lines:
        lines.write("\n")
    notes: list[str] = []
    assert read_whys(run.root / "bench", notes=notes) == {}
    assert notes == [
        "bench/analysis-sft+grpo.json is of other attempts than attempts-sft+grpo.jsonl holds; it is left out."
    ]
    run.text("bench/analysis-x.json", "{}")
    assert read_whys(run.root / "bench", notes=notes) == {}
    assert "bench/analysis-x.json cannot be read" in notes[-1]


def test_a_case_that_nothing_mends_gains_nothing() -> None:
    case = FailedCase(offset=0, link=None, why="no oracle", k=10.0, mended_k=None)
    assert (case.gain, case.words) == (0.0, "undecided: no oracle")
