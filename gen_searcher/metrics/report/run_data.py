"""Everything that a page needs of one run directory, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import yaml

from gen_searcher.metrics.report.choose import LIMIT, EntrySet, choose_arm, choose_last_steps, choose_like
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.read import (
    ConfigFile,
    Entry,
    Table,
    config_digest,
    read_configs,
    read_entries,
    read_metrics,
    read_more_tables,
    read_table,
)
from gen_searcher.metrics.report.why import read_whys

TRAINING = "GRPO"
TRAINED_BY = "grpo"
"""The command whose settings the training ran with."""
MEASURED_BY = "bench"
"""The command whose settings the arms were measured with."""
NOTED = ("policy.path", "policy.engine", "agent.temperature", "reward.alpha")
"""Settings that say how a sample was made; the page shows them beside each."""
MADE_BY = ("generator", "judges")
"""Sections with classes that draw and judge."""
NAMING = ("_target_", "path", "pipeline", "model", "revision")
"""Settings of such a class that say which model it is: no addresses, and none that could refer to a secret."""
NOT_SET = str(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """One run directory."""

    root: Path
    label: str
    """Its name on the page."""
    tables: tuple[Table, ...]
    """Those that hold arms; the benchmark's first."""
    sets: tuple[EntrySet, ...]
    sft: tuple[Series, ...]
    grpo: tuple[Series, ...]
    configs: tuple[ConfigFile, ...]

    @property
    def digest(self) -> str:
        """Of all settings; empty for a run that wrote none."""
        return config_digest(self.configs) if self.configs else ""

    @property
    def training(self) -> tuple[Entry, ...]:
        """Every try of the training, lost ones too."""
        return tuple(entry for one in self.sets if one.is_training for entry in one.all)


def read_run(run_dir: Path, *, notes: list[str], label: str = "", limit: int = LIMIT) -> RunData:
    """The run as it is now. `label` tells two runs of one page apart; `limit` is the most attempts shown of one set."""
    table = read_table(run_dir / "bench" / "table.json", notes=notes)
    more = read_more_tables(run_dir / "bench", notes=notes)
    order = [arm.name for arm in table.arms]
    return RunData(
        root=run_dir,
        label=label or run_dir.resolve().name,
        tables=tuple(one for one in (table, *more) if one.arms),
        sets=_entry_sets(run_dir, arm_order=order, notes=notes, label=label, limit=limit),
        sft=read_metrics(run_dir / "sft" / "metrics.jsonl", notes=notes),
        grpo=read_metrics(run_dir / "grpo" / "metrics.jsonl", notes=notes),
        configs=read_configs(run_dir / "config"),
    )


def _entry_sets(
    run_dir: Path, *, arm_order: Sequence[str], notes: list[str], label: str, limit: int
) -> tuple[EntrySet, ...]:
    """The arms as the table lists them, then arms that it does not know, then the training."""
    sets: list[EntrySet] = []
    whys = read_whys(run_dir / "bench", notes=notes)
    for file in sorted((run_dir / "bench").glob("attempts-*.jsonl")):
        entries = read_entries(file, notes=notes)
        name = file.stem.removeprefix("attempts-")
        why = whys.get(name)
        chosen = tuple(choose_arm(entries, limit=limit, always=() if why is None else why.all_samples))
        sets.append(EntrySet(name=name, is_training=False, all=entries, chosen=chosen, run=label, why=why))
    sets.sort(key=lambda one: arm_order.index(one.name) if one.name in arm_order else len(arm_order))
    training = read_entries(run_dir / "grpo" / "attempts.jsonl", notes=notes)
    if training:
        chosen = tuple(choose_last_steps(training, limit=limit))
        sets.append(EntrySet(name=TRAINING, is_training=True, all=training, chosen=chosen, run=label))
    return tuple(sets)


def beside(run: RunData, other: RunData, *, limit: int = LIMIT) -> tuple[EntrySet, ...]:
    """The other run's sets with the tasks chosen that `run` shows, where it has the same arm and tasks."""
    shown = {one.name: one.chosen for one in run.sets}
    sets: list[EntrySet] = []
    for one in other.sets:
        like = tuple(choose_like(one.all, shown.get(one.name, ()), limit=limit))
        chosen = like or one.chosen
        sets.append(replace(one, chosen=chosen))
    return tuple(sets)


def settings(config: ConfigFile) -> dict[str, str]:
    """Dotted names and values of one config file; empty when it is not YAML."""
    try:
        loaded: object = yaml.safe_load(config.text)
    except yaml.YAMLError:
        return {}
    return dict(_flat("", cast("Mapping[object, object]", loaded))) if isinstance(loaded, Mapping) else {}


def _flat(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        below = cast("Mapping[object, object]", value)
        return [pair for key, one in below.items() for pair in _flat(f"{name}.{key}" if name else str(key), one)]
    return [(name, str(cast("object", value)))]


def who_made_it(run: RunData, command: str) -> dict[str, str]:
    """The settings that a reader of a sample asks for first, as `command` ran with them, or else the last command.

    Of the generator and the judges the class and which model it is, as far as it is configured: what is not there is
    the class's own default.
    """
    if not run.configs:
        return {}
    config = next((one for one in run.configs if one.name == command), run.configs[-1])
    return {name: value for name, value in settings(config).items() if name in NOTED or _names_a_maker(name, value)}


def _names_a_maker(name: str, value: str) -> bool:
    path = name.split(".")
    return path[0] in MADE_BY and path[-1] in NAMING and value not in ("", NOT_SET)
