"""The data card: what the pipeline left on disk -> counts, licences, rejections by reason, cost -> JSON, Markdown, HTML."""

from __future__ import annotations

import hashlib
import html
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from gen_searcher.bench.rowfile import shown
from gen_searcher.data.export import HELDOUT, KNOWGEN, RL, RL_PUBLISHED, SFT
from gen_searcher.data.rows import Placed, Reject, StageName
from gen_searcher.data.split import PLACED
from gen_searcher.data.stage import REJECT, DataFolder, StageReport, write_lines
from gen_searcher.errors import DataError

UNKNOWN = "not stated"
SPLITS = ("sft", "rl", "heldout")
SHOWN_HOSTS = 20
SHOWN_EXAMPLES = 2
"""Rejects of each reason that the card quotes."""
_REPORT = TypeAdapter(StageReport)

LicenceOf = Callable[[str], str]
"""URL -> the licence of what lies there; empty when nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One section of the card."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known of a data set."""

    rows: Mapping[str, int]
    """By split."""
    stages: Sequence[StageReport]
    categories: Mapping[str, Mapping[str, int]]
    """Category to rows by split."""
    difficulties: Mapping[str, Mapping[str, int]]
    sources: Mapping[str, Mapping[str, int]]
    request_licences: Mapping[str, int]
    """Licence of the request's source to rows."""
    evidence_licences: Mapping[str, int]
    """Licence of a page or picture behind a grounding to how often it was used."""
    evidence_hosts: Mapping[str, int]
    """The most frequent ones."""
    models: Mapping[str, Mapping[str, int]]
    """Role (teacher, generator, judge) to model to rows."""
    scores: Mapping[str, Mapping[str, float]]
    """Dimension to mean, least and number of rows that it applies to."""
    trajectories: Mapping[str, float]
    """Means over the kept rows."""
    cost_usd: Mapping[str, float]
    """By stage; `total`, and `per_row` over the kept rows."""
    examples: Sequence[Reject]
    """Some rejects of each reason."""
    files: Mapping[str, Mapping[str, int | str]]
    """Exported file to bytes and sha256."""


def make_card(folder: DataFolder, *, licence_of: LicenceOf) -> Card:
    """Read what the stages left.

    Raises:
        DataError: The split has not been made yet.
    """
    path = folder.rows(StageName.SPLIT)
    if not path.is_file():
        raise DataError(f"there is no {path}: run `gen-searcher data split` first")
    placed = [PLACED.validate_json(line) for line in path.read_bytes().splitlines()]
    stages = [_REPORT.validate_json(each.read_bytes()) for name in StageName if (each := folder.report(name)).is_file()]
    cost = {report.stage: report.cost_usd for report in stages if report.cost_usd}
    total = sum(cost.values())
    urls = [url for row in placed for url in row.work.grounding.sources]
    return Card(
        rows=_counted(row.split for row in placed),
        stages=stages,
        categories=_by_split(placed, lambda row: row.proposal.meta.get("category", "")),
        difficulties=_by_split(placed, lambda row: row.proposal.meta.get("difficulty", "")),
        sources=_by_split(placed, lambda row: f"{row.proposal.origin.source} ({row.proposal.origin.kind})"),
        request_licences=_counted(row.proposal.origin.licence or UNKNOWN for row in placed),
        evidence_licences=_counted(licence_of(url) or UNKNOWN for url in urls),
        evidence_hosts=dict(Counter(urlsplit(url).hostname or "" for url in urls).most_common(SHOWN_HOSTS)),
        models={
            "teacher": _counted(row.work.teacher for row in placed),
            "generator": _counted(row.picture.generator for row in placed),
            "judge": _counted(f"{one.judge}: {one.model}" for row in placed for one in row.verdict.judgements),
        },
        scores=_scores(placed),
        trajectories=_trajectories(placed),
        cost_usd={**cost, "total": total, "per_row": total / len(placed) if placed else 0.0},
        examples=_examples(folder),
        files=_files(folder.export),
    )


def write_card(folder: DataFolder, card: Card) -> Path:
    """Write `card.json`, `card.md` and `card.html`, and return the Markdown."""
    found = tables(card)
    title = "Data card"
    write_lines(folder.root / "card.json", [json.dumps(asdict(card), indent=1, ensure_ascii=False).encode()])
    write_lines(folder.root / "card.html", [as_html(title, found).encode()])
    write_lines(folder.root / "card.md", [as_markdown(title, found).encode()])
    return folder.root / "card.md"


def tables(card: Card) -> list[Table]:
    """The card as sections."""
    reasons = [
        (report.stage, reason, str(count)) for report in card.stages for reason, count in report.rejected.items()
    ]
    stage_rows = tuple(
        (one.stage, str(one.taken), str(one.made), str(sum(one.rejected.values())), _usd(one.cost_usd))
        for one in card.stages
    )
    quoted = tuple(
        (one.stage, one.reason, one.id, f"{one.file}:{one.line}" if one.line else "", shown(one.details))
        for one in card.examples
    )
    return [
        _count_table("Rows", ("split", "rows"), card.rows),
        Table(title="Stages", columns=("stage", "taken", "made", "rejected", "USD"), rows=stage_rows),
        Table(title="Rejections by reason", columns=("stage", "reason", "rows"), rows=tuple(reasons)),
        Table(title="Some of them", columns=("stage", "reason", "id", "where", "details"), rows=quoted),
        _split_table("Categories", "category", card.categories),
        _split_table("Difficulties", "difficulty", card.difficulties),
        _split_table("Sources of the requests", "source", card.sources),
        _count_table("Licences of the requests", ("licence", "rows"), card.request_licences),
        _count_table("Licences of the evidence", ("licence", "uses"), card.evidence_licences),
        _count_table("Hosts of the evidence", ("host", "uses"), card.evidence_hosts),
        Table(
            title="Models",
            columns=("role", "model", "rows"),
            rows=tuple((role, name, str(n)) for role, names in card.models.items() for name, n in names.items()),
        ),
        Table(
            title="Scores of the kept rows",
            columns=("dimension", "mean", "least", "applies to"),
            rows=tuple(
                (name, f"{one['mean']:.3f}", f"{one['least']:.3f}", f"{one['rows']:.0f}")
                for name, one in card.scores.items()
            ),
        ),
        Table(
            title="Trajectories",
            columns=("mean per row", "value"),
            rows=tuple((name, f"{value:.2f}") for name, value in card.trajectories.items()),
        ),
        Table(
            title="Cost",
            columns=("stage", "USD"),
            rows=tuple((name, _usd(value)) for name, value in card.cost_usd.items()),
        ),
        Table(
            title="Files",
            columns=("file", "bytes", "sha256"),
            rows=tuple((name, str(one["bytes"]), str(one["sha256"])) for name, one in card.files.items()),
        ),
    ]


def as_markdown(title: str, sections: Sequence[Table]) -> str:
    """The sections as Markdown tables; an empty one says so."""
    parts = [f"# {title}"]
    for one in sections:
        parts += ["", f"## {one.title}", ""]
        if not one.rows:
            parts.append("none")
            continue
        parts += [_line(one.columns), _line(tuple("---" for _ in one.columns)), *map(_line, one.rows)]
    return "\n".join(parts)


def as_html(title: str, sections: Sequence[Table]) -> str:
    """The sections as one page that asks for nothing outside."""
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>',
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}",
        "table{border-collapse:collapse}td,th{padding:.2rem .7rem;border-bottom:1px solid #ccc;text-align:left}",
        f"</style><h1>{html.escape(title)}</h1>",
    ]
    for one in sections:
        parts.append(f"<h2>{html.escape(one.title)}</h2>")
        if not one.rows:
            parts.append("<p>none</p>")
            continue
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in one.columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in one.rows)
        parts.append(f"<table><tr>{head}</tr>{body}</table>")
    return "\n".join([*parts, "</html>"])


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _by_split(placed: Sequence[Placed], key: Callable[[Placed], str]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in placed:
        found.setdefault(key(row), Counter())[row.split] += 1
    return {name: {split: found[name][split] for split in SPLITS} for name in sorted(found)}


def _scores(placed: Sequence[Placed]) -> dict[str, dict[str, float]]:
    found: dict[str, list[float]] = {}
    for row in placed:
        for name, score in row.verdict.scores.items():
            if score is not None:
                found.setdefault(name, []).append(score)
    return {name: {"mean": fmean(all_), "least": min(all_), "rows": len(all_)} for name, all_ in sorted(found.items())}


def _trajectories(placed: Sequence[Placed]) -> dict[str, float]:
    if not placed:
        return {}
    works = [row.work for row in placed]
    return {
        "turns": fmean(sum(words.role == "assistant" for words in work.messages) for work in works),
        "tool calls": fmean(len(work.steps) for work in works),
        "pictures shown": fmean(len(work.images) for work in works),
        "references": fmean(len(work.grounding.references) for work in works),
        "seconds": fmean(work.latency_s for work in works),
    }


def _examples(folder: DataFolder) -> list[Reject]:
    found: list[Reject] = []
    for stage in StageName:
        path = folder.rejects(stage)
        seen: Counter[str] = Counter()
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            reject = REJECT.validate_json(line)
            seen[reject.reason] += 1
            if seen[reject.reason] <= SHOWN_EXAMPLES:
                found.append(reject)
    return found


def _files(folder: Path) -> dict[str, dict[str, int | str]]:
    paths = [path for name in (SFT, RL, HELDOUT, RL_PUBLISHED, KNOWGEN) if (path := folder / name).is_file()]
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in paths
    }


def _count_table(title: str, columns: tuple[str, str], counted: Mapping[str, int]) -> Table:
    return Table(title=title, columns=columns, rows=tuple((name, str(count)) for name, count in counted.items()))


def _split_table(title: str, column: str, found: Mapping[str, Mapping[str, int]]) -> Table:
    rows = tuple((name, *(str(counts[split]) for split in SPLITS)) for name, counts in found.items())
    return Table(title=title, columns=(column, *SPLITS), rows=rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _usd(value: float) -> str:
    return f"{value:.4f}"
