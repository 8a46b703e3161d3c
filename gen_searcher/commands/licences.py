"""Under which licence lies what the agent read and saw: known for the embedded world, for nothing else."""

from __future__ import annotations

from gen_searcher.config.agent import SearchConfig
from gen_searcher.world.adversity import adverse_world

UNKNOWN = "unknown"
"""The open web states no licence in a form that could be relied on."""


def licence_of(url: str, search: SearchConfig) -> str:
    """Of a page or picture that these tools brought; `UNKNOWN` when nobody states it."""
    if not search.world_server:
        return UNKNOWN
    return adverse_world(search.adversity).world.licence_of(url) or UNKNOWN
