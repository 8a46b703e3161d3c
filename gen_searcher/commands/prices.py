"""In which parts of an attempt nobody is asked who has a price."""

from __future__ import annotations

from collections.abc import Mapping, Set

from gen_searcher.bench.spent import Part
from gen_searcher.config.agent import SearchConfig
from gen_searcher.config.capability import is_local
from gen_searcher.config.plug import Plug
from gen_searcher.config.root import RunConfig


def free_parts(cfg: RunConfig) -> Set[Part]:
    """Of an attempt with these tools, this generator and these judges."""
    free: dict[Part, bool] = {
        "agent": free_tools(cfg.search),
        "drawing": is_local(cfg.generator),
        "judging": free_judges({**cfg.judges, **cfg.reward.shadow_judges}),
    }
    return {part for part, is_free in free.items() if is_free}


def free_tools(search: SearchConfig) -> bool:
    """Whether every tool asks nobody outside; pages that we fetch ourselves cost nothing."""
    plugs = (search.search, search.images, search.reader, search.summarizer)
    return all(plug is None or is_local(plug) for plug in plugs)


def free_judges(judges: Mapping[str, Plug]) -> bool:
    """Whether every judge asks nobody outside."""
    return all(is_local(plug) for plug in judges.values())
