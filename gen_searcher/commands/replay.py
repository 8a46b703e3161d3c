"""`gen-searcher replay RUN_DIR --step N`: make a recorded step once more, offline, and say what differs.

record -> pictures, rewards, advantages -> the learner, from the nearest checkpoint -> a table, and perhaps a bundle
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gen_searcher.commands.crew import picture_rules
from gen_searcher.commands.fingerprints import is_fingerprint
from gen_searcher.commands.identity import POLICY, read_identity
from gen_searcher.commands.replay_learner import Lesson, learn
from gen_searcher.commands.replay_parts import Outside, judges_of, redraw_of
from gen_searcher.commands.replay_trust import check_trusted
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.cluster import RolesConfig
from gen_searcher.config.replay import ReplayConfig
from gen_searcher.config.root import RunConfig
from gen_searcher.engines.learner_checkpoint import save_weights_alone
from gen_searcher.errors import ConfigError, UserError
from gen_searcher.rewards.compose import compose
from gen_searcher.train.bundle import StepParts, fill, pack, unpack
from gen_searcher.train.recorded import START, Attempts, RecordedStep, Route, route_to, states, step_lines
from gen_searcher.train.replay import (
    ReplayedStep,
    Replayer,
    is_picture,
    learner_checks,
    not_computed,
    pictures_of,
)
from gen_searcher.train.replay_table import ReplayTable, StepNumbers
from gen_searcher.train.run import RunFolder
from gen_searcher.train.step_log import config_digest
from gen_searcher.types import StepReport

log = logging.getLogger(__name__)

EXIT_DIFFERS = 5


def run(cfg: RunConfig) -> int:
    """Print the table. 0 when everything agrees, `EXIT_DIFFERS` otherwise.

    Raises:
        UserError: The step cannot be replayed; says why, and which ones can.
    """
    _check_settings(cfg)
    settings = cfg.replay
    if settings.pack is not None and settings.pack.exists():
        raise ConfigError(f"replay.pack: {settings.pack} exists; name another file, or delete it")
    with _folder(cfg) as folder, tempfile.TemporaryDirectory(prefix="gs-replay-") as scratch:
        recorded = Recorded.read(folder, settings)
        target = None if settings.pack is None else RunFolder(root=Path(scratch) / "bundle")
        table = _replayed(recorded, settings, scratch=Path(scratch), target=target)
        sys.stdout.write(f"{table}\n")
        if not table.agrees:
            return EXIT_DIFFERS
        if target is not None and settings.pack is not None:
            _pack(recorded, target, settings.pack, state=_state_before(Path(scratch)))
            sys.stdout.write(f"packed into {settings.pack}\n")
    return 0


def _check_settings(cfg: RunConfig) -> None:
    """Refuse settings that a replay would not read."""
    default = load.load()
    given = cfg.model_dump(mode="json", exclude={"run_dir", "replay"})
    expected = default.model_dump(mode="json", exclude={"run_dir", "replay"})
    odd = [key for key in given if given[key] != expected[key]]
    if odd:
        raise ConfigError(f"replay takes its settings from the run's record; leave out {', '.join(odd)}")
    if cfg.replay.bundle is not None and cfg.run_dir != default.run_dir:
        raise ConfigError("replay takes a run directory or --bundle FILE, not both")


@contextmanager
def _folder(cfg: RunConfig) -> Generator[RunFolder]:
    """The run directory, or what a bundle unpacks to."""
    if cfg.replay.bundle is None:
        if not cfg.run_dir.is_dir():
            raise ConfigError(f"run_dir: there is no run directory {cfg.run_dir}")
        yield RunFolder(root=cfg.run_dir.resolve())
        return
    with tempfile.TemporaryDirectory(prefix="gs-bundle-") as folder:
        unpack(cfg.replay.bundle, Path(folder))
        yield RunFolder(root=Path(folder).resolve())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a run directory says of a step and of the way to it."""

    place: Workplace
    """With the settings of the step that was asked for."""
    start: Path
    """The policy that the stage started from."""
    route: Route
    steps: tuple[RecordedStep, ...]
    """Those of the route; the last one was asked for."""

    @classmethod
    def read(cls, folder: RunFolder, settings: ReplayConfig) -> Recorded:
        """Raises UserError when the record or the way is not there."""
        lines = step_lines(folder)
        if not lines:
            raise UserError(f"{folder.steps}: no step is on record there; `gen-searcher grpo` writes it")
        step = settings.step or max(lines)
        route = route_to(step, kept=states(folder), recorded=lines)
        attempts = Attempts(folder.attempts)
        place = workplace(folder, settings, lines[step].config)
        check_trusted(place.cfg, settings)
        return cls(
            place=place,
            start=_start(place),
            route=route,
            steps=tuple(attempts.step(lines[number]) for number in route.steps),
        )

    @property
    def last(self) -> RecordedStep:
        """The step that was asked for."""
        return self.steps[-1]


def workplace(folder: RunFolder, settings: ReplayConfig, digest: str) -> Workplace:
    """The run as one of its recorded configurations describes it, on this machine."""
    path = folder.step_config(digest)
    if not path.is_file():
        raise UserError(f"{path}: missing; it holds the settings of the step")
    text = path.read_text(encoding="utf-8")
    if config_digest(text) != digest:
        raise UserError(
            f"{path}: not what the run wrote there, its digest is {config_digest(text)}; the record is not whole"
        )
    cfg = load.read(text, source=str(path))
    roles = cfg.cluster.roles if settings.placed == "as_run" else RolesConfig()
    cluster = cfg.cluster.model_copy(update={"address": "local", "cpus": None, "roles": roles, "fault_plan": None})
    return Workplace(cfg=cfg.model_copy(update={"run_dir": folder.root, "cluster": cluster}), folder=folder)


def _start(place: Workplace) -> Path:
    """The policy that the stage started from. Raises UserError when it is another one by now."""
    start = place.policy("sft")
    if not place.folder.identity.is_file():
        raise UserError(f"{place.folder.identity}: missing; it says which policy the steps started from")
    was = read_identity(place.folder.identity).get(POLICY, "not written down")
    if not is_fingerprint(was, start):
        raise UserError(f"{start}: not the policy that the steps started from, whose fingerprint was {was}")
    return start


def _replayed(recorded: Recorded, settings: ReplayConfig, *, scratch: Path, target: RunFolder | None) -> ReplayTable:
    with ExitStack() as closing:
        outside = Outside.of(recorded.place, settings, record=target, closing=closing)
        cfg = recorded.place.cfg
        replayer = Replayer(
            store=recorded.place.store,
            judges=judges_of(cfg, recorded.place.store, outside),
            compose=partial(compose, rules=cfg.reward),
            objective=cfg.grpo.objective,
            pictures=picture_rules(cfg),
            redraw=redraw_of(cfg, recorded.place.store, outside) if settings.pictures == "drawn" else None,
        )
        made = asyncio.run(replayer.step(recorded.last))
        spoiled = [replayer.spoiled(step) for step in recorded.steps[:-1]]
    log.info("step %d: rewards and advantages are made again; now the learner", recorded.last.line.step)
    is_whole = made.has_views and not any(is_picture(check) for checks in spoiled for check in checks)
    reports = _reports(recorded, made, settings, scratch=scratch) if is_whole else []
    numbers = [
        StepNumbers(
            step=step.line.step,
            checks=(
                *(
                    learner_checks(step.line, reports[place], tolerance=settings.tolerance)
                    if reports
                    else not_computed(step.line)
                ),
                *(spoiled[place] if place < len(spoiled) else ()),
            ),
            arithmetic=_other_arithmetic(step, reports[place], settings) if reports else None,
        )
        for place, step in enumerate(recorded.steps)
    ]
    state = recorded.route.state
    came_from = "the policy after sft" if state == START else f"the checkpoint of step {state}"
    return ReplayTable(state=came_from, members=made.members, numbers=tuple(numbers))


def _reports(recorded: Recorded, made: ReplayedStep, settings: ReplayConfig, *, scratch: Path) -> list[StepReport]:
    """What the learner says of every step on the way; the last one learns from the rewards that were made again."""
    before = [
        Lesson(config=step.line.config, groups=tuple(group.as_trained() for group in step.groups))
        for step in recorded.steps[:-1]
    ]
    lessons = [*before, Lesson(config=recorded.last.line.config, groups=made.groups)]
    state = recorded.route.state
    is_packed = settings.pack is not None and recorded.last.line.step > START + 1
    return learn(
        lessons,
        workplace_of=partial(workplace, recorded.place.folder, settings),
        start=recorded.start,
        state=None if state == START else recorded.place.folder.checkpoints.folder(state),
        keep=_state_before(scratch) if is_packed else None,
        scratch=scratch,
    )


def _other_arithmetic(step: RecordedStep, report: StepReport, settings: ReplayConfig) -> str | None:
    if step.line.arithmetic == report.arithmetic:
        return None
    return (
        f"the run computed with {step.line.arithmetic or 'it does not say what'}, this is {report.arithmetic}: other bits "
        f"are expected, up to {settings.tolerance:g}"
    )


def _state_before(scratch: Path) -> Path:
    """Where the learner leaves its state before the step that is to be packed, unless that is the fresh policy."""
    return scratch / "before"


def _pack(recorded: Recorded, target: RunFolder, file: Path, *, state: Path) -> None:
    step = recorded.last
    if state.exists():
        save_weights_alone(state, target.checkpoints.folder(step.line.step - 1))
    pictures = {picture for group in step.groups for member in group.members for picture in pictures_of(member.attempt)}
    parts = StepParts(
        recorded=step,
        config=recorded.place.folder.step_config(step.line.config).read_text(encoding="utf-8"),
        policy=recorded.start,
        pictures=sorted(pictures, key=lambda picture: picture.sha256),
    )
    fill(target, parts, source=recorded.place.folder)
    pack(target.root, file)
