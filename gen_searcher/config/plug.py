"""A class named in YAML: `{_target_: package.module.Class, keyword: value}` -> checked early -> built where it runs.

Generators, judges, search providers and metric sinks all come this way, ours and other people's alike.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, JsonValue, TypeAdapter, model_serializer, model_validator
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticCustomError, ValidationError

from gen_searcher.config.base import Config
from gen_searcher.config.redaction import guard_process, hiding_secrets
from gen_searcher.config.secrets import Secret
from gen_searcher.errors import ConfigError

TARGET_KEY = "_target_"


class Plug(Config):
    """A constructor by name with its keywords. Nothing is imported until `check` or `build`."""

    target: str
    """Dotted path of the class or function, e.g. `my_package.draw.MyModel`."""
    keywords: Mapping[str, JsonValue] = {}
    """Everything beside `_target_` in the YAML."""

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: object) -> object:
        if isinstance(value, Plug):
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError("plug_target", "needs `_target_: package.module.Class`")
        fields = dict(typing.cast("Mapping[str, object]", value))
        if fields.keys() == {"target", "keywords"}:
            return fields
        target = fields.pop(TARGET_KEY, None)
        if not isinstance(target, str) or "." not in target:
            raise PydanticCustomError("plug_target", "needs `_target_: package.module.Class`")
        return {"target": target, "keywords": fields}

    @model_serializer
    def _to_yaml(self) -> dict[str, JsonValue]:
        return {TARGET_KEY: self.target, **self.keywords}

    def check(self, injected: Sequence[str] = (), *, at: str = "plug") -> None:
        """Import the target and bind the keywords, without building anything.

        Args:
            injected: Names of the keywords that the program adds at `build`.
            at: Where in the config this plug stands, for the message.

        Raises:
            ConfigError: No such module or name, an unknown or missing keyword, or a value of the wrong type.
        """
        target = self._import(at)
        signature = inspect.signature(target)
        known = [name for name, parameter in signature.parameters.items() if _is_named(parameter)]
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
        problems = [
            f"{at}.{name}: {self.target} takes no keyword {name!r}{_hint(name, known) or '; leave it out'}"
            for name in self.keywords
            if name not in known and not takes_any
        ]
        given = {*self.keywords, *injected}
        problems += [
            f"{at}.{name}: {self.target} needs this keyword and it is not set; write +{at}.{name}=VALUE"
            for name in known
            if name not in given and signature.parameters[name].default is inspect.Parameter.empty
        ]
        problems += [
            f"{at}: {self.target} must accept the keyword {name!r}, which the program passes"
            for name in injected
            if name not in known and not takes_any
        ]
        if problems:
            raise ConfigError("\n".join(problems))
        self._converted(target, at)

    def secrets(self, *, at: str = "plug") -> Mapping[str, Secret]:
        """What refers to a secret, by its place in the config: keywords, and settings within one, e.g. `server.key`.

        Raises ConfigError as `check` does.
        """
        values = self._converted(self._import(at), at)
        return {place: secret for name, value in values.items() for place, secret in _secrets(f"{at}.{name}", value)}

    def build(self, **injected: object) -> object:
        """Construct the target with its keywords and what the program adds.

        The caller states the protocol it expects: `cast("ImageModel", plug.build())`. From here on somebody else's code
        runs in this process, and what it logs or raises tells no secret.
        """
        guard_process()
        target = self._import("plug")
        with hiding_secrets("plug"):
            return target(**injected, **self._converted(target, "plug"))

    def resolved(self) -> Resolved:
        """The target itself and its keywords as `build` would pass them. Raises ConfigError."""
        target = self._import("plug")
        return Resolved(target=target, keywords=self._converted(target, "plug"))

    def _import(self, at: str) -> Callable[..., object]:
        module_name, _, name = self.target.rpartition(".")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            missing = error.name or module_name
            if module_name == missing or module_name.startswith(f"{missing}."):
                raise ConfigError(
                    f"{at}._target_: there is no module {missing!r} (from {self.target!r}); install the package that holds it "
                    "into this Python, or correct the name"
                ) from error
            raise ConfigError(f"{at}._target_: {module_name} needs the package {missing!r}; install it") from error
        found = vars(module).get(name)
        if not callable(found):
            names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise ConfigError(
                f"{at}._target_: {module_name} has no class {name!r}{_hint(name, names) or '; correct the name'}"
            )
        return found

    def _converted(self, target: Callable[..., object], at: str) -> dict[str, object]:
        """The keywords as the target's annotations want them: a path from text, a tuple from a list, a secret."""
        hints = _hints(target)
        values: dict[str, object] = {}
        problems: list[str] = []
        for name, value in self.keywords.items():
            adapter = _adapter(hints[name]) if name in hints else None
            if adapter is None:
                values[name] = value
                continue
            try:
                values[name] = adapter.validate_python(value)
            except ValidationError as error:
                for detail in error.errors(include_url=False, include_input=False):
                    path = ".".join([at, name, *map(str, detail["loc"])])
                    problems.append(f"{path}: {detail['msg']}")
        if problems:
            raise ConfigError("\n".join(problems))
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a plug names, without building it."""

    target: Callable[..., object]
    keywords: Mapping[str, object]


def _secrets(at: str, value: object) -> Iterator[tuple[str, Secret]]:
    if isinstance(value, Secret):
        yield at, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(f"{at}.{name}", vars(value)[name])


def _is_named(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; it takes {', '.join(known)}" if 0 < len(known) <= 12 else ""


def _hints(target: Callable[..., object]) -> Mapping[str, object]:
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError:  # annotations imported for type checkers only: values then pass as they are
        return {}


def _adapter(annotation: object) -> TypeAdapter[object] | None:
    """None for an annotation that says nothing about a YAML value (a protocol, an array, ...)."""
    try:
        return TypeAdapter(typing.cast("type[object]", annotation))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None
