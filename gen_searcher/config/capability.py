"""What a plug says of itself, known before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from gen_searcher.config.plug import Plug
from gen_searcher.drawing import Capability
from gen_searcher.errors import ConfigError
from gen_searcher.protocols import DeclaresCapability, DeclaresLocal


def plug_capability(plug: Plug) -> Capability:
    """What the plug's class declares of these keywords; the defaults of `Capability` when it declares nothing.

    Raises:
        ConfigError: There is no such class, a keyword has the wrong type, or the declaration is none.
    """
    resolved = plug.resolved()
    if not isinstance(resolved.target, DeclaresCapability):
        return Capability()
    declared = resolved.target.declare(resolved.keywords)
    if not isinstance(declared, Capability):  # pyright: ignore[reportUnnecessaryIsInstance] - a plug may be untyped
        raise ConfigError(f"{plug.target}.declare returned {type(declared).__name__}, not a Capability")
    return declared


def is_local(plug: Plug) -> bool:
    """Whether the plug's class says that it asks nobody outside; one that is made of plugs when all of them say so."""
    resolved = plug.resolved()
    groups = [cast("Mapping[str, object]", value) for value in resolved.keywords.values() if isinstance(value, Mapping)]
    members = [one for group in groups for one in group.values() if isinstance(one, Plug)]
    if members:
        return all(map(is_local, members))
    target = resolved.target
    return isinstance(target, DeclaresLocal) and target.is_local is True  # a method of that name claims nothing
