"""A run directory -> one HTML file that needs nothing else: `read_run` -> `highlights` -> `embed` -> the template."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from pydantic import TypeAdapter

from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.report.charts import Panel, Stage, outcome_series, stage
from gen_searcher.metrics.report.choose import LIMIT, EntrySet
from gen_searcher.metrics.report.compare import compare
from gen_searcher.metrics.report.derived import failure_series, spend_line, spend_series, throughput_series
from gen_searcher.metrics.report.drawings import drawing_lines
from gen_searcher.metrics.report.embed import Embedded, embed, id_of
from gen_searcher.metrics.report.expense import Expenses, expenses
from gen_searcher.metrics.report.figures import HoverLine, Series
from gen_searcher.metrics.report.highlights import Highlights, Marked, highlights
from gen_searcher.metrics.report.pictures import PictureTable
from gen_searcher.metrics.report.read import Table
from gen_searcher.metrics.report.run_data import (
    MEASURED_BY,
    TRAINED_BY,
    RunData,
    beside,
    read_run,
    settings,
    who_made_it,
)
from gen_searcher.metrics.report.tables import table_view
from gen_searcher.metrics.report.tallies import agreement_rows, tool_rows
from gen_searcher.metrics.report.why import WhyView, why_view
from gen_searcher.types import Outcome

AT_STEP = (
    "learner/mismatch_nats", "learner/logprob_gap_max_nats", "learner/kl_nats", "learner/ratio_max",
    "learner/weight_bound_frac", "train/staleness_mean", "train/staleness_max",
)  # fmt: skip
"""Numbers of a step that say how far sampler and learner were apart; shown beside each sample of the step."""
SCRIPTS = ("base.js", "charts.js", "list.js", "attempt.js", "turns.js", "keys.js", "live.js")
STYLES = ("page.css", "attempt.css")

_LINES = TypeAdapter(dict[str, tuple[HoverLine, ...]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One highlighted attempt."""

    id: str
    reward: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTile:
    """One task whose reward changed."""

    before: Tile
    after: Tile
    difference: str


def write_report(run_dir: Path, *, compare_with: Path | None = None, limit: int = LIMIT) -> Path:
    """Write `run_dir/report.html` from what the run has written so far, and return its path.

    `compare_with` is a second run directory to show beside it; `limit` is the most attempts shown of one arm.
    """
    html = render(run_dir, compare_with=compare_with, limit=limit)
    target = run_dir / "report.html"
    part = target.with_suffix(".html.part")
    part.write_text(html, encoding="utf-8", errors="replace")
    part.replace(target)
    return target


def render(
    run_dir: Path,
    *,
    compare_with: Path | None = None,
    limit: int = LIMIT,
    live: str = "",
    encoded: dict[str, str] | None = None,
) -> str:
    """The page as text.

    Args:
        run_dir: The run.
        compare_with: A second run to show beside it.
        limit: Most attempts shown of one arm, and of the training.
        live: Version of the page for a server that is asked again and again; empty for a file.
        encoded: Pictures that an earlier call has encoded, by digest; this call adds its own.
    """
    notes: list[str] = []
    labels = _labels(run_dir, compare_with) if compare_with else ("", "")
    run = read_run(run_dir, notes=notes, label=labels[0], limit=limit)
    other = read_run(compare_with, notes=notes, label=labels[1], limit=limit) if compare_with else None
    others = beside(run, other, limit=limit) if other else ()
    seen = highlights(run.sets, other=others)
    stores = [ImageStore(one.root / "images") for one in (run, other) if one]
    pictures = PictureTable(*stores, encoded=encoded)
    embedded = embed((*run.sets, *others), first=seen.marked, pictures=pictures, notes=notes)
    stages = _stages(run, other)
    return _environment().get_template("page.html").render(
        name=f"{labels[0]} and {labels[1]}" if other else run.label,
        live=live,
        about=_about(run, stages),
        configs=run.configs,
        digest=run.digest,
        notes=list(dict.fromkeys(notes)),
        tables=[table_view(one, index) for index, one in enumerate(run.tables)],
        whys=_why_views(run.sets, shown=embedded.attempts.keys()),
        stages=stages,
        svg={panel.id: Markup(panel.svg) for panel in _panels(stages)},
        lost=_lost_stages(run.sets),
        spend=spend_line(run.grpo),
        expense=_expenses(run),
        drawings=drawing_lines(run.training),
        tools=tool_rows(run.training),
        agreement=agreement_rows(run.training),
        compared=compare(run, other) if other else None,
        **_tiles(seen, embedded),
        shown=embedded.shown,
        css=Markup("".join(map(_asset, STYLES))),
        js=Markup("".join(map(_asset, SCRIPTS))),
        data_charts=_script_json(_LINES.dump_json({panel.id: panel.lines for panel in _panels(stages)}).decode()),
        data_attempts=_script_json("[" + ",\n".join(text.decode() for text in embedded.attempts.values()) + "]"),
        data_texts=_script_json(json.dumps(embedded.texts, ensure_ascii=False)),
        data_pictures=_script_json(json.dumps(embedded.pictures)),
        data_run=_script_json(json.dumps([_facts(one) for one in (run, other) if one], ensure_ascii=False)),
    )  # fmt: skip


def _expenses(run: RunData) -> Expenses | None:
    config = next((one for one in run.configs if one.name == TRAINED_BY), None)
    return expenses(run.grpo, run.tables, {} if config is None else settings(config))


def _why_views(sets: Sequence[EntrySet], *, shown: Collection[str]) -> list[WhyView]:
    analysed = [(one, one.why) for one in sets if one.why is not None]
    return [
        why_view(why, index=index, ids={entry.offset: id_of(one, entry) for entry in one.all}, shown=shown)
        for index, (one, why) in enumerate(analysed)
    ]


def _labels(run_dir: Path, other: Path) -> tuple[str, str]:
    """Names that tell both apart: the last part of their paths, or as much of them as differs."""
    ours, theirs = run_dir.resolve(), other.resolve()
    if ours.name != theirs.name:
        return ours.name, theirs.name
    pair = (f"{ours.parent.name}/{ours.name}", f"{theirs.parent.name}/{theirs.name}")
    return pair if pair[0] != pair[1] else (f"{ours.name} (this)", f"{theirs.name} (the other)")


def _facts(run: RunData) -> dict[str, object]:
    """Where the samples of its training and of its arms come from, and its learner's numbers by step."""
    by_step: dict[int, dict[str, float]] = {}
    for series in (one for one in run.grpo if one.name in AT_STEP):
        for step, value in zip(series.steps, series.values, strict=True):
            if math.isfinite(value):
                by_step.setdefault(step, {})[series.name] = value
    return {
        "label": run.label,
        "digest": run.digest,
        "training": who_made_it(run, TRAINED_BY),
        "arms": who_made_it(run, MEASURED_BY),
        "steps": by_step,
    }


def _stages(run: RunData, other: RunData | None) -> tuple[Stage, ...]:
    made = (
        stage("sft", title="Supervised fine-tuning", series=run.sft, other=other.sft if other else ()),
        stage(
            "grpo",
            title="Reinforcement learning (GRPO)",
            series=_training(run),
            other=_training(other) if other else (),
        ),
    )
    return tuple(one for one in made if one.panels or one.others)


def _training(run: RunData) -> tuple[Series, ...]:
    """What the run logged, then what follows from it and from its attempts."""
    logged = {series.name for series in run.grpo}
    entries = run.training
    made = (
        *outcome_series(entries), *failure_series(entries), *throughput_series(run.grpo, entries),
        *spend_series(run.grpo),
    )  # fmt: skip
    whole = (*run.grpo, *(one for one in made if one.name not in logged))
    return tuple(
        one for one in whole if not one.name.endswith("_usd") or any(one.values)
    )  # Unpaid: a sentence says so.


def _panels(stages: Sequence[Stage]) -> list[Panel]:
    return [panel for one in stages for panel in (*one.panels, *one.others)]


def _about(run: RunData, stages: Sequence[Stage]) -> list[str]:
    """What the run did, in short phrases."""
    said: list[str] = []
    for one in stages:
        series = run.sft if one.id == "sft" else run.grpo or _training(run)
        last = max((line.steps[-1] for line in series if line.steps), default=None)
        said += [f"{one.id.upper()} to step {last:,}"] if last is not None else []
    arms = run.tables[0].arms if run.tables else Table().arms
    if arms:
        said.append(f"benchmark of {len(arms)} arm{'s' if len(arms) != 1 else ''}")
    total = sum(len(one.all) for one in run.sets)
    if total:
        said.append(f"{total:,} attempts")
        grounded = sum(entry.outcome == Outcome.GROUNDED for one in run.sets for entry in one.all)
        said.append(f"{grounded / total:.0%} grounded")
        said.append(f"{sum(entry.outcome == 'lost' for one in run.sets for entry in one.all):,} lost")
    return said or ["nothing has been recorded yet"]


def _lost_stages(sets: Sequence[EntrySet]) -> list[str]:
    counts: dict[str, int] = {}
    for entry in (entry for one in sets for entry in one.all if entry.outcome == "lost"):
        counts[entry.stage] = counts.get(entry.stage, 0) + 1
    return [f"{name}: {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1])]


def _tiles(seen: Highlights, embedded: Embedded) -> Mapping[str, object]:
    """The highlights that found room on the page."""
    changed = [
        ChangeTile(before=_tile(one.before), after=_tile(one.after), difference=f"{one.difference:+.3f}")
        for one in seen.changed
    ]
    return {
        "best": [tile for tile in map(_tile, seen.best) if tile.id in embedded.attempts],
        "worst": [tile for tile in map(_tile, seen.worst) if tile.id in embedded.attempts],
        "changed": [one for one in changed if one.before.id in embedded.attempts and one.after.id in embedded.attempts],
        "what_changed": seen.what_changed,
    }


def _tile(marked: Marked) -> Tile:
    owner, entry = marked.owner, marked.entry
    place = f"step {entry.step}" if owner.is_training else owner.name
    return Tile(
        id=id_of(owner, entry),
        reward="none" if entry.reward is None else f"{entry.reward:.3f}",
        label=f"{owner.run}, {place}" if owner.run else place,
    )


def _script_json(text: str) -> Markup:
    r"""JSON that cannot end its script element: `<`, `>` and `&` occur in JSON strings only, where `\u003c` is the same."""
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _asset(name: str) -> str:
    return resources.files("gen_searcher.metrics.report").joinpath("assets", name).read_text(encoding="utf-8")


def _environment() -> Environment:
    return Environment(
        loader=DictLoader({"page.html": _asset("page.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
