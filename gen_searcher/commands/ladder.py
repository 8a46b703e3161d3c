"""`gen-searcher ladder`: runs of several seeds and rewards beside each other, as a table, plots and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from gen_searcher.bench.ladder import ALPHA, LADDER, LADDER_PAIRS, Cell, Difference, Ladder, Rung, transfer
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError
from gen_searcher.metrics.report.forest import Row, forest


def run(cfg: RunConfig) -> int:
    """Write `ladder.json` and one SVG per comparison into the folder; print the tables."""
    folder = cfg.ladder.folder
    seeds = sorted(path for path in folder.glob("seed*") if path.is_dir())
    if not seeds:
        raise ConfigError(f"{folder} holds no seed<N> folder; launch/paper_mini.sh makes them")
    ladder = Ladder(seeds, seed=cfg.seed)
    names = {cell.label: cell for cell in LADDER}
    pairs = [(names[better], names[baseline]) for better, baseline in LADDER_PAIRS]
    other = transfer(cfg.ladder.other_generator)
    parts: dict[str, tuple[str, Sequence[Cell], Sequence[tuple[Cell, Cell]]]] = {
        "ladder": ("K-Score by kind of policy", LADDER, pairs),
        "alpha": ("K-Score by share of the text reward", ALPHA, []),
        "transfer": (
            "The same policies on a generator that they were not trained with",
            other,
            [(other[-1], other[-2])],
        ),
    }
    written: dict[str, object] = {"seeds": [path.name for path in seeds]}
    for name, (title, cells, compared) in parts.items():
        rungs = [ladder.rung(cell) for cell in cells if ladder.has(cell)]
        differences = [ladder.difference(a, b) for a, b in compared if ladder.has(a) and ladder.has(b)]
        if not rungs:
            sys.stdout.write(f"{title}: nothing has been benched\n\n")
            continue
        missing = [cell.label for cell in cells if not ladder.has(cell)]
        sys.stdout.write("\n".join([title, *_lines(rungs, differences), *_missing(missing), "", ""]))
        written[name] = {
            "rungs": [asdict(rung) for rung in rungs],
            "differences": [asdict(each) for each in differences],
        }
        (folder / f"{name}.svg").write_text(forest([_row(rung) for rung in rungs], title=title), encoding="utf-8")
    (folder / "ladder.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 0


def _row(rung: Rung) -> Row:
    return Row(label=rung.cell.label, value=rung.k.value, low=rung.k.low, high=rung.k.high, dots=rung.by_seed)


def _lines(rungs: Sequence[Rung], differences: Sequence[Difference]) -> list[str]:
    width = max(len(rung.cell.label) for rung in rungs)
    return [
        *(
            f"  {rung.cell.label.ljust(width)}  {rung.k.value:6.2f}  [{rung.k.low:.2f}, {rung.k.high:.2f}]  "
            f"seeds {', '.join(f'{k:.2f}' for k in rung.by_seed)}; {rung.tasks} tasks each, {rung.lost} tries lost; "
            f"{_known(rung.attempt_s, 2)} s and {_known(rung.attempt_usd, 4)} USD an attempt"
            for rung in rungs
        ),
        *(
            f"  {each.better} - {each.baseline}: {each.k.value:+.2f} [{each.k.low:+.2f}, {each.k.high:+.2f}], "
            f"paired over {each.seeds} seeds of {each.tasks} tasks"
            for each in differences
        ),
    ]


def _known(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _missing(labels: Sequence[str]) -> list[str]:
    return [f"  not benched: {', '.join(labels)}"] if labels else []
