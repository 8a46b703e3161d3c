"""Every plug of a configuration: where it stands, and what the program adds when it builds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gen_searcher.config.plug import Plug
from gen_searcher.config.root import RunConfig
from gen_searcher.engines.mixture import plugs_of
from gen_searcher.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A plug."""

    at: str
    """Its setting, e.g. `judges.image`."""
    plug: Plug
    injected: tuple[str, ...] = ()
    """Names of the keywords that the program adds."""


def placed(cfg: RunConfig) -> Iterator[Placed]:
    """All of them, whichever command uses them; the members of a mixture too."""
    yield Placed(at="generator", plug=cfg.generator)
    yield Placed(at="search.search", plug=cfg.search.search_plug)
    yield Placed(at="search.images", plug=cfg.search.images_plug)
    yield from _group("bench.generators", cfg.bench.generators)
    for name, plug in (("reader", cfg.search.reader), ("summarizer", cfg.search.summarizer)):
        if plug is not None:
            yield Placed(at=f"search.{name}", plug=plug)
    yield from _group("generator.members", _members(cfg))
    yield from _group("judges", cfg.judges, "store")
    yield from _group("data.verify.judges", cfg.data.verify.judges, "store")
    if cfg.bench.benchmark is not None and cfg.bench.benchmark.judge is not None:
        yield Placed(at="bench.benchmark.judge", plug=cfg.bench.benchmark.judge, injected=("store",))
    yield from _group("reward.shadow_judges", cfg.reward.shadow_judges, "store")
    yield from _group("trackers", cfg.trackers, "run")


def _group(at: str, plugs: Mapping[str, Plug], *injected: str) -> Iterator[Placed]:
    for name, plug in plugs.items():
        yield Placed(at=f"{at}.{name}", plug=plug, injected=injected)


def _members(cfg: RunConfig) -> Mapping[str, Plug]:
    try:
        return plugs_of(cfg.generator)
    except UserError:
        return {}  # whoever checks the mixture itself says what is wrong with it
