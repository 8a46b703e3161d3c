from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gen_searcher.metrics.report import embed, write_report
from gen_searcher.types import Outcome

if TYPE_CHECKING:
    from .conftest import FixtureRun

HOSTILE = "</script><img src=x onerror=alert(1)><!-- \u2028 & ]]>"


class Elements(HTMLParser):
    """Counts elements, attributes that run code, and keeps JSON and plain text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.json: dict[str, str] = {}
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "srcset", "action"}]
        self._inside = tag if tag in {"script", "style"} else self._inside
        if tag == "script":
            self._id = dict(attrs).get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and self._id:
            self.json[self._id] = self.json.get(self._id, "") + data
        elif not self._inside:
            self.text += data


def written(run: FixtureRun) -> str:
    return write_report(run.root).read_text(encoding="utf-8")


def embedded(html: str, name: str = "data-attempts") -> list[dict[str, Any]]:
    return json.loads(Elements(html).json[name])


def test_the_report_lies_in_the_run_directory(full_run: FixtureRun) -> None:
    path = write_report(full_run.root)
    assert path == full_run.root / "report.html"
    assert list(full_run.root.glob("*.part")) == []
    assert path.stat().st_size < 1_000_000


def test_the_page_needs_nothing_from_outside(full_run: FixtureRun) -> None:
    html = written(full_run)
    elements = Elements(html)
    assert [link for link in elements.links if not link.startswith("#")] == []
    assert "link" not in elements.tags
    assert "iframe" not in elements.tags
    assert "url(" not in html.split("</style>")[0]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in html


def test_all_parts_of_a_full_run_are_shown(full_run: FixtureRun) -> None:
    text = Elements(written(full_run)).text
    for words in ("Benchmark", "Supervised fine-tuning", "Reinforcement learning (GRPO)", "Attempts", "Config"):
        assert words in text
    assert "SFT to step 80" in text
    assert "GRPO to step 60" in text
    assert "75 attempts" in text
    assert "+0.160" in text
    assert re.search(r"51 of 51 of GRPO", text)
    assert "generate: 3" in text


def test_the_embedded_attempts_hold_their_rewards_and_groups(full_run: FixtureRun) -> None:
    attempts = embedded(written(full_run))
    assert len(attempts) == 75
    training = [one for one in attempts if one["is_training"]]
    assert len({one["group"] for one in training}) == 15
    assert sum(one["outcome"] == "lost" for one in training) == 3
    assert len({one["id"] for one in attempts}) == 75


def test_each_picture_is_embedded_once(full_run: FixtureRun) -> None:
    html = written(full_run)
    urls = re.findall(r"data:image/webp;base64,[^\"]+", html)
    assert len(urls) == len(set(urls)) > 20
    assert len(embedded(html, "data-pictures")) == len(urls)


def test_arms_come_in_the_order_of_the_table(full_run: FixtureRun) -> None:
    assert list(dict.fromkeys(one["arm"] for one in embedded(written(full_run)))) == [
        "base",
        "after-sft",
        "after-grpo",
        "GRPO",
    ]


def test_hostile_words_stay_words(run: FixtureRun) -> None:
    run.text("config/grpo.yaml", HOSTILE)
    run.text("grpo/metrics.jsonl", json.dumps({"step": 1, HOSTILE: 1.0, f"reward{HOSTILE}": 1.0}) + "\n")
    run.text("bench/table.json", json.dumps({"arms": [{"arm": HOSTILE, "k_score": 0.5, HOSTILE: 1}]}))
    line = run.line("Poland", prompt=HOSTILE, title=HOSTILE, group=HOSTILE)
    run.lines("grpo/attempts.jsonl", [line])
    html = written(run)
    elements = Elements(html)
    assert elements.tags.count("img") == 0
    assert elements.handlers == []
    assert elements.tags.count("script") == 6
    assert html.count("</script>") == 6
    assert "<!--" not in html
    assert elements.text.count(HOSTILE) >= 3
    assert [link for link in elements.links if not link.startswith("#")] == []
    (attempt,) = embedded(html)
    assert attempt["prompt"] == HOSTILE


def test_a_run_that_only_did_sft_has_a_report(run: FixtureRun) -> None:
    run.metrics("sft", [{"step": 1, "learn/loss": 2.0}, {"step": 2, "learn/loss": 1.0}])
    text = Elements(written(run)).text
    assert "Supervised fine-tuning" in text
    for absent in ("Benchmark", "Reinforcement", "Filter", "Config"):
        assert absent not in text


def test_an_empty_run_says_so(run: FixtureRun) -> None:
    run.root.mkdir()
    assert "nothing has been recorded yet" in Elements(written(run)).text


def test_a_half_written_line_is_said_on_the_page(run: FixtureRun) -> None:
    path = run.lines("grpo/attempts.jsonl", [run.line("Poland", step=1)])
    path.write_text(path.read_text() + '{"step": 2, "gro', encoding="utf-8")
    assert "the last line (2) is not complete" in Elements(written(run)).text


def test_what_does_not_fit_is_left_out_and_said(full_run: FixtureRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "MAX_BYTES", 150_000)
    html = written(full_run)
    attempts = embedded(html)
    arms = [one["arm"] for one in attempts]
    assert 4 <= len(attempts) < 75
    assert {"base", "after-sft", "after-grpo", "GRPO"} == set(arms)
    assert "some chosen attempts are left out" in html
    assert len(html) < 150_000 + 200_000


def test_missing_pictures_are_said(run: FixtureRun) -> None:
    line = run.line("Poland", outcome=Outcome.MALFORMED)
    run.lines("grpo/attempts.jsonl", [line])
    for picture in (run.root / "images").rglob("*.png"):
        picture.unlink()
    assert "5 pictures are not in the run" in Elements(written(run)).text


def test_numbers_that_json_cannot_hold_do_not_break_the_page(run: FixtureRun) -> None:
    run.text("grpo/metrics.jsonl", '{"step": 1, "reward/total": 1.0}\n{"step": 2, "reward/total": NaN}\n')
    charts = json.loads(Elements(written(run)).json["data-charts"], parse_constant=pytest.fail)
    assert charts["grpo-0-0"][0]["values"] == [1.0, None]


def test_the_same_run_gives_the_same_page(full_run: FixtureRun) -> None:
    assert written(full_run) == written(full_run)


def test_the_report_is_named_after_its_run(full_run: FixtureRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(full_run.root)
    assert "<title>run-7: run report</title>" in write_report(Path()).read_text(encoding="utf-8")


def test_an_outcome_that_was_logged_is_drawn_once(run: FixtureRun) -> None:
    run.metrics("grpo", [{"step": s, "time_s": s, "outcome/grounded_frac": 0.5} for s in range(1, 5)])
    run.lines("grpo/attempts.jsonl", [run.line("Estonia", step=step, group="Estonia") for step in range(1, 5)])
    text = Elements(write_report(run.root).read_text(encoding="utf-8")).text
    assert text.count("outcome/grounded_frac") == 1


def test_a_sweep_has_a_section_of_its_own_with_what_the_attempts_met(full_run: FixtureRun) -> None:
    arms = [
        {"arm": f"grpo @ {name}", "k_score": score, "low": score - 2, "high": score + 2, "orders_obeyed": count}
        for name, score, count in (("none", 61.5, 0), ("harsh", 34.25, 7))
    ]
    pair = {"better": "grpo @ harsh", "baseline": "grpo @ none", "difference": -27.25, "low": -31.0, "high": -22.0}
    table = {"arms": arms, "paired": [pair], "title": "Adversity: each arm"}
    full_run.text("bench/adversity/table.json", json.dumps(table))
    html = written(full_run)
    text = Elements(html).text
    assert html.count('<section id="arms') == 2
    assert '<a href="#arms-1">Adversity: each arm</a>' in html
    section = text[text.index("Difference of K-Scores") :]
    assert all(words in section for words in ("orders obeyed", "grpo @ harsh", "34.2", "-27.250", "-31.000 to -22.000"))
