"""The command line: words -> configuration -> preflight -> the command's function. Nothing heavy is imported before that."""

from __future__ import annotations

import argparse
import importlib
import logging
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gen_searcher import __version__
from gen_searcher.commands.ending import MEANINGS, Ending
from gen_searcher.errors import EXIT_INTERRUPTED, UserError, WorldError, ending_of

if TYPE_CHECKING:
    from types import FrameType

    from gen_searcher.config.root import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One thing the program can do."""

    summary: str
    target: str
    """`module:function` below `gen_searcher.commands`; the function takes the configuration and returns an exit code."""
    spends: bool = False
    """Does work that a preflight check should precede."""
    takes_lease: bool = False
    """Writes the run directory's configuration itself, once it may."""


COMMANDS: dict[str, Command] = {
    "sft": Command(summary="fine-tune the policy on demonstrations", target="sft:run", spends=True, takes_lease=True),
    "grpo": Command(
        summary="train the policy with GRPO; run it again to resume", target="grpo:run", spends=True, takes_lease=True
    ),
    "bench": Command(summary="compare policies on the held-out tasks", target="bench:run", spends=True),
    "bench analysis": Command(
        summary="say why attempts of the benchmark failed: bench analysis RUN_DIR", target="analysis:run", spends=True
    ),
    "generate": Command(
        summary='search and draw one request: generate "a flag at night"', target="generate:run", spends=True
    ),
    "data build": Command(
        summary="requests, trajectories, pictures, scores, duplicates, splits, files, card: all of the below",
        target="data:build",
        spends=True,
        takes_lease=True,
    ),
    **{
        f"data {name}": Command(summary=summary, target=f"data:{name}", spends=True, takes_lease=True)
        for name, summary in (
            ("propose", "requests from data.propose.sources"),
            ("collect", "the teacher's work on each request, with the run's agent and tools"),
            ("draw", "a ground-truth picture for each, by the run's generator"),
            ("verify", "scores by judges and rules; what is below data.verify.floors goes"),
            ("dedupe", "what is there already and what a benchmark holds goes"),
            ("split", "which row is for SFT, which for RL, which is held out"),
            ("export", "write SFT, RL and KnowGen files"),
        )
    },
    "data card": Command(summary="counts, licences, rejections by reason, cost", target="data:card"),
    "world build": Command(summary="rebuild the embedded world's data, byte for byte", target="world:build"),
    "world tasks": Command(summary="write the embedded world's task files", target="world:tasks"),
    "world ledger": Command(summary="write what search.adversity harms in the world", target="world:ledger"),
    "world train-painter": Command(summary="train the embedded image generator", target="world:train_painter"),
    "world serve": Command(summary="serve the embedded world on loopback", target="world:serve"),
    "serve generator": Command(summary="serve the image model with the reference's protocol", target="serve:generator"),
    "generator check": Command(
        summary="prove an image model: generator check my_pkg:MyModel", target="generator_check:run"
    ),
    "export": Command(summary="write the run's last checkpoint as a Hugging Face folder", target="export:run"),
    "judge calibrate": Command(
        summary="hold the judges against the golden set", target="judge:calibrate_judges", spends=True
    ),
    "judge check": Command(
        summary="run the conformance kit: judge check my_pkg:MyJudge, or a judge of the configuration by name",
        target="judge:check",
    ),
    "replay": Command(
        summary="make a step once more and say what differs: replay RUN_DIR --step N, or replay --bundle FILE",
        target="replay:run",
    ),
    "scale": Command(
        summary="change how many workers a running grpo has: scale RUN_DIR cluster.rollout_workers=4",
        target="scale:run",
    ),
    "report": Command(
        summary="write report.html of a run: report RUN_DIR [--compare OTHER_RUN], or show it live with --serve",
        target="report:run",
    ),
    "ladder": Command(
        summary="set the runs of several seeds and rewards beside each other: ladder FOLDER, see launch/paper_mini.sh",
        target="ladder:run",
    ),
    "plan": Command(
        summary="forecast step time, idle shares and cost of this cluster, or propose one for a budget",
        target="plan:run",
    ),
    "doctor": Command(summary="say what this machine and this configuration can do", target="doctor:run"),
}
"""Every command by its words."""

TAKES_A_WORD: dict[str, Callable[[str], str]] = {
    "bench analysis": lambda word: f"run_dir={quoted(word)}",
    "report": lambda word: f"run_dir={quoted(word)}",
    "scale": lambda word: f"run_dir={quoted(word)}",
    "replay": lambda word: f"run_dir={quoted(word)}",
    "ladder": lambda word: f"ladder.folder={quoted(word)}",
    "generate": lambda word: f"generate.prompt={quoted(word)}",
    "judge check": lambda word: f"judge_check.judge={quoted(word)}",
    "generator check": lambda word: f"generator={{_target_: {word.replace(':', '.')}}}",
}
"""Commands whose one bare argument is a setting, and how that is written."""
FLAGS: dict[str, tuple[str, ...]] = {"replay": ("step", "bundle", "pack", "trust"), "report": ("compare",)}
"""Settings of a command that may be written as `--NAME VALUE`; the setting is `COMMAND.NAME`."""
SWITCHES: dict[str, tuple[str, ...]] = {"report": ("serve",), "doctor": ("online",)}
"""Settings of a command that `--NAME` turns on."""
OVERRIDE = re.compile(r"[+~]{0,2}[A-Za-z_][\w.@/-]*=|~[\w.@/-]+$")
"""What a setting starts with; a request in plain words does not."""

TEXT_LINE = "%(asctime)s %(levelname).1s %(name)s: %(message)s"

CODES = textwrap.fill("exit codes: " + ", ".join(f"{code} {said}" for code, said in MEANINGS.items()), width=118)
EPILOG = f"""\
settings are written as in Hydra: key=value, e.g. grpo.steps=20 cluster.rollout_workers=2; a key that names a folder
of conf/ picks one of its files, e.g. experiment=laptop. All commands take the same settings, and --cfg shows them.

{CODES}
A command that works or spends says its code again in its last line on standard error, one JSON object.
"""


def run(argv: Sequence[str], *, ending: Ending | None = None) -> int:
    """Run one command line and return its exit code; `ending` learns what it was."""
    try:
        return _dispatch(argv, ending or Ending())
    except (UserError, WorldError, OSError) as error:
        from gen_searcher.config.secrets import redact

        said = ending_of(error)
        if said is None:
            raise
        sys.stderr.write(f"gen-searcher: {redact(str(said))}\n")
        return said.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("gen-searcher: interrupted; run the same command again to continue\n")
        return EXIT_INTERRUPTED


def _dispatch(argv: Sequence[str], ending: Ending) -> int:
    name, options, overrides = parse(argv)
    command = COMMANDS[name]
    if command.spends and not (options.cfg or options.submit):
        ending.command = name
    from gen_searcher.config import load
    from gen_searcher.config.redaction import guard_process

    guard_process()
    cfg = load.load(overrides, config_dir=options.config_dir)
    ending.run_dir = cfg.run_dir
    if options.cfg:
        sys.stdout.write(load.dump_yaml(cfg))
        return 0
    if options.submit:
        from gen_searcher.config.needs import submit_options

        sys.stdout.write("".join(f"{word}\n" for word in submit_options(cfg.cluster.roles.driver)))
        return 0
    from gen_searcher.metrics.log_fields import JsonLines, log_fields

    _set_up_log(cfg, JsonLines() if cfg.log.format == "json" else logging.Formatter(TEXT_LINE))
    if command.spends:
        from gen_searcher.commands import preflight

        preflight.check(cfg, command=name)
        if not command.takes_lease:
            load.write(cfg, command=name)
    with log_fields(run=cfg.run_dir.name, command=name), _interrupted_by_sigterm():
        return body(command)(cfg)


@contextmanager
def _interrupted_by_sigterm() -> Generator[None]:
    """Let SIGTERM end the command like Ctrl-C, with the exit code that says so; a training loop has a gentler way."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _set_up_log(cfg: RunConfig, formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=cfg.log.level.upper(), handlers=[handler])


def body(command: Command) -> Callable[[RunConfig], int]:
    """The command's function, imported now."""
    module, _, function = command.target.partition(":")
    found = vars(importlib.import_module(f"gen_searcher.commands.{module}"))[function]
    return cast("Callable[[RunConfig], int]", found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The flags of the command line."""

    cfg: bool
    config_dir: Path | None
    submit: bool = False


def parse(argv: Sequence[str]) -> tuple[str, Options, list[str]]:
    """The command's words, its flags and its overrides.

    Raises:
        UserError: A word that is neither a command nor `key=value`.
    """
    parsed = _parser().parse_intermixed_args(list(argv))
    words = cast("list[str]", parsed.words)
    config_dir = cast("Path | None", parsed.config_dir)
    options = Options(cfg=cast("bool", parsed.cfg), submit=cast("bool", parsed.submit_options), config_dir=config_dir)
    bare = [word for word in words if not OVERRIDE.match(word)]
    overrides = [word for word in words if OVERRIDE.match(word)]
    setting = TAKES_A_WORD.get(" ".join(bare[:-1]))
    if setting is not None:
        overrides.append(setting(bare.pop()))
    name = " ".join(bare)
    if name not in COMMANDS:
        raise UserError(_no_such_command(bare))
    overrides += _flags(name, cast("dict[str, str | bool | None]", vars(parsed)))
    return name, options, overrides


def _flags(name: str, given: Mapping[str, str | bool | None]) -> list[str]:
    """The flags that stand for settings, as overrides. Raises UserError for one of another command."""
    overrides: list[str] = []
    owners = {flag: owner for both in (FLAGS, SWITCHES) for owner, flags in both.items() for flag in flags}
    for flag, command in owners.items():
        value = given[flag]
        if value is None:
            continue
        if command != name:
            raise UserError(f"--{flag} belongs to the command {command!r}, not to {name!r}")
        overrides.append(f"{command}.{flag}={quoted(value) if isinstance(value, str) else 'true'}")
    return overrides


def quoted(text: str) -> str:
    """A value that Hydra reads back as exactly `text`."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _no_such_command(words: Sequence[str]) -> str:
    if not words:
        return f"which command? One of: {', '.join(COMMANDS)} (gen-searcher --help says more)"
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in COMMANDS and len(words) > count:
            return f"{words[count]!r} is neither key=value nor part of the command {name!r}"
    same_start = [name for name in COMMANDS if name.split()[0] == words[0]] or list(COMMANDS)
    return f"there is no command {' '.join(words)!r}; there is: {', '.join(same_start)}"


def _parser() -> argparse.ArgumentParser:
    width = max(len(name) for name in COMMANDS)
    listing = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="gen-searcher",
        usage="gen-searcher COMMAND [key=value ...] [--config-dir DIR] [--cfg]",
        description=f"Train agents that search the web before a frozen image generator draws.\n\ncommands:\n{listing}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="a folder of your own YAML, searched beside conf/"
    )
    parser.add_argument("--cfg", action="store_true", help="print the resolved configuration as YAML and stop")
    parser.add_argument(
        "--submit-options",
        action="store_true",
        help="print what `ray job submit` is told of cluster.roles.driver, a word a line, and stop; for launch/ray_job.sh",
    )
    for command, flags in FLAGS.items():
        for flag in flags:
            parser.add_argument(f"--{flag}", metavar="VALUE", help=f"of {command}: the setting {command}.{flag}")
    for command, flags in SWITCHES.items():
        for flag in flags:
            said = f"of {command}: turns the setting {command}.{flag} on"
            parser.add_argument(f"--{flag}", action="store_const", const=True, help=said)
    parser.add_argument("--version", action="version", version=f"gen-searcher {__version__}")
    return parser
