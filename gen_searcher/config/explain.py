"""Validation errors -> what a person can act on: the full key, what was found, what is expected, what was meant."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError

from gen_searcher.config.plug import Plug

MAX_SHOWN = 12
"""More problems than this do not fit on a screen."""
HIDDEN_INPUT = frozenset({"secret_reference", "plug_target", "trace_endpoint"})
"""Errors whose input may hold a key somebody pasted."""


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """One line per problem, each with the full dotted key."""
    details = error.errors(include_url=False)
    paths = known_paths(root)
    lines: list[str] = []
    for detail in details:
        if detail["type"] == "extra_forbidden":
            lines += [_unknown(loc, root, paths) for loc in _leaves(detail["loc"], detail["input"])]
        else:
            lines.append(_line(detail["type"], detail["loc"], detail["msg"], detail["input"]))
    shown = list(dict.fromkeys(lines))
    count = len(shown)
    heading = "the configuration has a problem:" if count == 1 else f"the configuration has {count} problems:"
    if count > MAX_SHOWN:
        shown = [*shown[:MAX_SHOWN], f"... and {count - MAX_SHOWN} more"]
    return "\n".join([heading, *(f"  {line}" for line in shown)])


def known_paths(root: type[BaseModel]) -> list[str]:
    """Every dotted key of the model."""
    found: list[str] = []
    for name, field in root.model_fields.items():
        found.append(name)
        model = _model_in(field.annotation)
        if model is not None and model is not Plug:
            found += [f"{name}.{path}" for path in known_paths(model)]
    return found


def _leaves(loc: tuple[str | int, ...], found: object) -> list[tuple[str | int, ...]]:
    """An unknown key, or the keys below it: whoever writes `grop.steps=2` meant the whole path."""
    if isinstance(found, Mapping) and found and len(loc) == 1:
        children = typing.cast("Mapping[str, object]", found)
        return [(*loc, name) for name in children]
    return [loc]


def _line(kind: str, loc: Sequence[str | int], message: str, found: object) -> str:
    key = ".".join(map(str, loc)) or "the configuration"
    if kind == "missing":
        return f"{key}: must be set"
    if kind in HIDDEN_INPUT:
        return f"{key}: {message}"
    return f"{key}: found {_short(found)}, expected: {_expectation(message)}"


def _expectation(message: str) -> str:
    text = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return text.removeprefix("a valid ").partition(", unable to parse")[0]


def _short(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _unknown(loc: Sequence[str | int], root: type[BaseModel], paths: Sequence[str]) -> str:
    """The nearest settings: first among the siblings, then the whole path, then the same word anywhere."""
    name, parents = str(loc[-1]), loc[:-1]
    key = ".".join(map(str, loc))
    model: type[BaseModel] | None = root
    for step in parents:
        field = model.model_fields.get(str(step)) if model else None
        model = _model_in(field.annotation) if field else None
    prefix = "".join(f"{step}." for step in parents)
    siblings = list(model.model_fields) if model else []
    near = [*difflib.get_close_matches(name, siblings, n=2), *(other for other in siblings if other.startswith(name))]
    last = {path: path.rpartition(".")[2] for path in paths}
    words = difflib.get_close_matches(name, sorted(set(last.values())), n=2, cutoff=0.75)
    suggestions = [prefix + match for match in near]
    suggestions += difflib.get_close_matches(key, paths, n=1, cutoff=0.75)
    if not suggestions:
        suggestions += sorted((path for path in paths if last[path] in words), key=lambda path: last[path] != name)
    unique = list(dict.fromkeys(suggestions))[:3]
    if unique:
        return f"{key}: there is no such setting; did you mean {' or '.join(unique)}?"
    known = f"; {prefix.rstrip('.')} has {', '.join(siblings)}" if prefix and siblings else ""
    return f"{key}: there is no such setting{known}"


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model behind a field's annotation, through `| None` and `Annotated`; None for a plain value or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        for argument in typing.get_args(annotation):
            model = _model_in(argument)
            if model is not None:
                return model
    return None
