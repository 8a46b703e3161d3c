"""A run directory -> one HTML file that needs nothing else: `read` -> `choose` -> `view` -> the template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from pydantic import TypeAdapter

from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.report import figures
from gen_searcher.metrics.report.charts import Panel, Stage, outcome_series, stage
from gen_searcher.metrics.report.choose import choose_arm, choose_last_steps, in_turn
from gen_searcher.metrics.report.drawings import drawing_lines
from gen_searcher.metrics.report.figures import HoverLine
from gen_searcher.metrics.report.pictures import PictureTable
from gen_searcher.metrics.report.read import (
    Entry,
    Table,
    config_digest,
    read_configs,
    read_entries,
    read_line,
    read_metrics,
    read_more_tables,
    read_table,
)
from gen_searcher.metrics.report.view import AttemptView, Place, Texts, attempt_view
from gen_searcher.metrics.report.why import Why, WhyView, read_whys, why_view
from gen_searcher.types import Outcome

MAX_BYTES = 11_000_000
"""Of attempts and their pictures; with charts and styles the file stays below 12 MB and opens on a phone."""
TRAINING = "GRPO"
KNOWN_COLUMNS = ("k_score", "faithfulness", "visual_correctness", "text_accuracy", "aesthetics", "text_reward")
NONE = "n/a"
INTERVAL = frozenset({"low", "high"})

_VIEW = TypeAdapter(AttemptView)
_LINES = TypeAdapter(dict[str, tuple[HoverLine, ...]])


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySet:
    """The attempts of one arm, or of the training, and those of them that the page shows."""

    name: str
    is_training: bool
    all: tuple[Entry, ...]
    chosen: tuple[Entry, ...]
    why: Why | None = None
    """The analysis of its failures; None without one."""

    def place(self, entry: Entry) -> Place:
        """Where one of its attempts belongs."""
        said = "" if self.why is None else self.why.said.get(entry.offset, "")
        return Place(arm=self.name, is_training=self.is_training, entry=entry, why=said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How many attempts of a set are on the page."""

    name: str
    shown: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What the script gets."""

    attempts: tuple[bytes, ...]
    """JSON of each attempt."""
    ids: frozenset[str]
    """Theirs."""
    texts: tuple[str, ...]
    pictures: Mapping[str, str]
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One printed row of the table of arms."""

    name: str
    bar: Markup
    score: str
    interval: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One printed comparison."""

    better: str
    baseline: str
    bar: Markup
    difference: str
    interval: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """One section of results: arms, or one arm at several settings or on several kinds of tasks."""

    id: str
    title: str
    columns: tuple[str, ...]
    arms: tuple[ArmRow, ...]
    pairs: tuple[PairRow, ...]


def write_report(run_dir: Path) -> Path:
    """Write `run_dir/report.html` from what the run has written so far, and return its path."""
    notes: list[str] = []
    table = read_table(run_dir / "bench" / "table.json", notes=notes)
    more = read_more_tables(run_dir / "bench", notes=notes)
    sets = _entry_sets(run_dir, arm_order=[arm.name for arm in table.arms], notes=notes)
    embedded = _embed(sets, store=ImageStore(run_dir / "images"), notes=notes)
    stages = _stages(run_dir, training=[one for one in sets if one.is_training], notes=notes)
    configs = read_configs(run_dir / "config")
    shown = [one for one in (table, *more) if one.arms]
    template = _environment().get_template("page.html")
    html = template.render(
        name=run_dir.resolve().name,
        about=_about(stages, table, sets),
        configs=configs,
        digest=config_digest(configs) if configs else "",
        notes=list(dict.fromkeys(notes)),
        tables=[_table_view(one, index) for index, one in enumerate(shown)],
        whys=_why_views(sets, shown=embedded.ids),
        stages=stages,
        svg={panel.id: Markup(panel.svg) for panel in _panels(stages)},
        lost=_lost_stages(sets),
        drawings=drawing_lines([entry for one in sets if one.is_training for entry in one.all]),
        shown=embedded.shown,
        css=Markup(_asset("page.css") + _asset("attempt.css")),
        js=Markup(_asset("page.js") + _asset("attempt.js")),
        data_charts=_script_json(_LINES.dump_json({panel.id: panel.lines for panel in _panels(stages)}).decode()),
        data_attempts=_script_json("[" + ",\n".join(text.decode() for text in embedded.attempts) + "]"),
        data_texts=_script_json(json.dumps(embedded.texts, ensure_ascii=False)),
        data_pictures=_script_json(json.dumps(embedded.pictures)),
    )
    target = run_dir / "report.html"
    part = target.with_suffix(".html.part")
    part.write_text(html, encoding="utf-8", errors="replace")
    part.replace(target)
    return target


def _entry_sets(run_dir: Path, *, arm_order: Sequence[str], notes: list[str]) -> tuple[EntrySet, ...]:
    """The arms as the table lists them, then arms that it does not know, then the training."""
    sets: list[EntrySet] = []
    whys = read_whys(run_dir / "bench", notes=notes)
    for file in sorted((run_dir / "bench").glob("attempts-*.jsonl")):
        entries = read_entries(file, notes=notes)
        name = file.stem.removeprefix("attempts-")
        why = whys.get(name)
        chosen = tuple(choose_arm(entries, always=() if why is None else why.all_samples))
        sets.append(EntrySet(name=name, is_training=False, all=entries, chosen=chosen, why=why))
    sets.sort(key=lambda one: arm_order.index(one.name) if one.name in arm_order else len(arm_order))
    training = read_entries(run_dir / "grpo" / "attempts.jsonl", notes=notes)
    if training:
        chosen = tuple(choose_last_steps(training))
        sets.append(EntrySet(name=TRAINING, is_training=True, all=training, chosen=chosen))
    return tuple(sets)


def _embed(sets: Sequence[EntrySet], *, store: ImageStore, notes: list[str]) -> Embedded:
    """The chosen attempts, those of all sets in turn, until the page is full."""
    pictures, texts = PictureTable(store), Texts()
    views: list[list[bytes]] = [[] for _ in sets]
    ids: set[str] = set()
    used, unreadable, full = 0, 0, False
    queues = [iter(one.chosen) for one in sets]
    for index in in_turn([one.chosen for one in sets]):
        entry, one = next(queues[index]), sets[index]
        line = read_line(entry)
        if line is None:
            unreadable += 1
            continue
        place = one.place(entry)
        pictures_before, texts_before = len(pictures.urls), len(texts.all)
        view = _VIEW.dump_json(attempt_view(line, place=place, pictures=pictures, texts=texts))
        new_pictures = list(pictures.urls)[pictures_before:]
        size = len(view) + sum(len(pictures.urls[key]) for key in new_pictures)
        size += sum(len(text.encode()) for text in texts.all[texts_before:])
        if used + size > MAX_BYTES:
            full = True
            texts.forget_after(texts_before)
            for key in new_pictures:
                del pictures.urls[key]
            continue
        used += size
        views[index].append(view)
        ids.add(place.id)
    if full:
        notes.append(f"The page is full ({MAX_BYTES // 1_000_000} MB): some chosen attempts are left out.")
    if unreadable:
        notes.append(f"{unreadable} attempts do not follow the format of attempts.jsonl; they are left out.")
    if pictures.missing:
        notes.append(f"{len(pictures.missing)} pictures are not in the run's image store.")
    return Embedded(
        attempts=tuple(view for one in views for view in one),
        ids=frozenset(ids),
        texts=tuple(texts.all),
        pictures=pictures.urls,
        shown=tuple(
            Shown(name=one.name, shown=len(views[index]), total=len(one.all)) for index, one in enumerate(sets)
        ),
    )


def _why_views(sets: Sequence[EntrySet], *, shown: frozenset[str]) -> list[WhyView]:
    analysed = [(one, one.why) for one in sets if one.why is not None]
    return [
        why_view(why, index=index, ids={entry.offset: one.place(entry).id for entry in one.all}, shown=shown)
        for index, (one, why) in enumerate(analysed)
    ]


def _stages(run_dir: Path, *, training: Sequence[EntrySet], notes: list[str]) -> tuple[Stage, ...]:
    sft = read_metrics(run_dir / "sft" / "metrics.jsonl", notes=notes)
    grpo = read_metrics(run_dir / "grpo" / "metrics.jsonl", notes=notes)
    logged = {series.name for series in grpo}
    counted = (series for one in training for series in outcome_series(one.all))
    grpo += tuple(series for series in counted if series.name not in logged)
    made = (
        stage("sft", title="Supervised fine-tuning", series=sft),
        stage("grpo", title="Reinforcement learning (GRPO)", series=grpo),
    )
    return tuple(one for one in made if one.panels or one.others)


def _panels(stages: Sequence[Stage]) -> list[Panel]:
    return [panel for one in stages for panel in (*one.panels, *one.others)]


def _about(stages: Sequence[Stage], table: Table, sets: Sequence[EntrySet]) -> list[str]:
    """What the run did, in short phrases."""
    said: list[str] = []
    for one, name in ((one, {"sft": "SFT", "grpo": "GRPO"}[one.id]) for one in stages):
        last = max(line.steps[-1] for panel in (*one.panels, *one.others) for line in panel.lines)
        said.append(f"{name} to step {last:,}")
    if table.arms:
        said.append(f"benchmark of {len(table.arms)} arm{'s' if len(table.arms) != 1 else ''}")
    total = sum(len(one.all) for one in sets)
    if total:
        said.append(f"{total:,} attempts")
        grounded = sum(entry.outcome == Outcome.GROUNDED for one in sets for entry in one.all)
        said.append(f"{grounded / total:.0%} grounded")
        said.append(f"{sum(entry.outcome == 'lost' for one in sets for entry in one.all):,} lost")
    return said or ["nothing has been recorded yet"]


def _lost_stages(sets: Sequence[EntrySet]) -> list[str]:
    counts: dict[str, int] = {}
    for entry in (entry for one in sets for entry in one.all if entry.outcome == "lost"):
        counts[entry.stage] = counts.get(entry.stage, 0) + 1
    return [f"{name}: {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1])]


def _table_view(table: Table, index: int) -> TableView:
    columns = _columns(table)
    return TableView(
        id="arms" if index == 0 else f"arms-{index}",
        title=table.title,
        columns=tuple(column.replace("_", " ") for column in columns),
        arms=tuple(_arm_rows(table, columns)),
        pairs=tuple(_pair_rows(table)),
    )


def _columns(table: Table) -> list[str]:
    present = {name for arm in table.arms for name in arm.numbers} - INTERVAL
    known = [name for name in KNOWN_COLUMNS[1:] if name in present]
    return known + sorted(present.difference(KNOWN_COLUMNS))


def _arm_rows(table: Table, columns: Sequence[str]) -> list[ArmRow]:
    domain = figures.bar_domain([arm.numbers.get("high", arm.numbers.get("k_score", 0.0)) for arm in table.arms])
    rows: list[ArmRow] = []
    for arm in table.arms:
        score = arm.numbers.get("k_score")
        low, high = arm.numbers.get("low"), arm.numbers.get("high")
        whisker = (low, high) if low is not None and high is not None else None
        bar = ""
        if score is not None:
            bar = figures.interval_bar(score, *(whisker or (score, score)), domain=domain)
        rows.append(
            ArmRow(
                name=arm.name,
                bar=Markup(bar),
                score=NONE if score is None else f"{score:.3f}" if domain[1] <= 1 else f"{score:.1f}",
                interval=f"{figures.number(whisker[0])} to {figures.number(whisker[1])}" if whisker else "",
                cells=tuple(figures.number(arm.numbers[c]) if c in arm.numbers else NONE for c in columns),
            )
        )
    return rows


def _pair_rows(table: Table) -> list[PairRow]:
    domain = figures.difference_domain([value for pair in table.paired for value in (pair.low, pair.high)])
    return [
        PairRow(
            better=pair.better,
            baseline=pair.baseline,
            bar=Markup(figures.difference_bar(pair.difference, pair.low, pair.high, domain=domain)),
            difference=f"{pair.difference:+.3f}",
            interval=f"{pair.low:+.3f} to {pair.high:+.3f}",
        )
        for pair in table.paired
    ]


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
