"""What a Dockerfile says, read far enough to carry it out: text → stages → steps. What it cannot read is an error."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

WORDS = frozenset({"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One instruction."""

    word: str
    rest: str
    """On one line."""

    @property
    def pairs(self) -> dict[str, str]:
        """Of ENV and ARG; a name without a value has an empty one."""
        return {name: value for name, _, value in (word.partition("=") for word in shlex.split(self.rest))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """From one FROM to the next."""

    base: str
    """An image, or an earlier stage."""
    name: str
    """Empty: it has none."""
    steps: tuple[Step, ...]


def read(text: str, *, arguments: Mapping[str, str] | None = None) -> list[Stage]:
    """Stages in their order; `arguments` are those of `--build-arg` and stand above the file's own defaults.

    Raises:
        ValueError: An instruction that is not among WORDS, or one that stands before the first FROM and is not ARG.
    """
    given = arguments or {}
    known: dict[str, str] = {}
    found: list[Stage] = []
    steps: list[Step] = []
    for step in _steps(text):
        if step.word not in WORDS or not (found or step.word in ("ARG", "FROM")):
            raise ValueError(f"`{step.word} {step.rest}` is not understood")
        if step.word == "FROM":
            base, _, name = Template(step.rest).substitute(known).partition(" AS ")
            steps = []
            found.append(Stage(base=base, name=name, steps=()))
            continue
        if step.word == "ARG":
            pairs = {name: given.get(name, value) for name, value in step.pairs.items()}
            step = Step(word="ARG", rest=shlex.join(f"{name}={value}" for name, value in pairs.items()))
        if not found:
            known |= step.pairs
            continue
        steps.append(step)
        found[-1] = Stage(base=found[-1].base, name=found[-1].name, steps=tuple(steps))
    return found


def _steps(text: str) -> list[Step]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [
        Step(word=word, rest=rest.strip())
        for word, _, rest in (line.partition(" ") for line in whole.splitlines())
        if word
    ]
