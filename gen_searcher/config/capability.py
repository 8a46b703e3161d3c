"""What a generator plug can do, known before anything is built."""

from __future__ import annotations

from gen_searcher.config.plug import Plug
from gen_searcher.drawing import Capability
from gen_searcher.errors import ConfigError
from gen_searcher.protocols import DeclaresCapability


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
