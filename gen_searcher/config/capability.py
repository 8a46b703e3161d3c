"""What a plug says of itself, known before anything is built."""

from __future__ import annotations

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
    """Whether the plug's class says that it asks nobody outside."""
    target = plug.resolved().target
    return isinstance(target, DeclaresLocal) and target.is_local
