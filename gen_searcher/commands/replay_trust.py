"""Whose code a replay runs. A record names classes, and building one runs it: that of a stranger may name any.

A record of one's own lies in its run directory, and its plugs are built as the run built them. A bundle comes from anywhere:
of its plugs only those that ship with the package are built, with settings that reach for nothing, and those that the
user has named (`replay.trust`). `cluster.fault_plan` is nobody's result and never built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from pydantic import JsonValue

from gen_searcher.config.plug import TARGET_KEY, Plug
from gen_searcher.config.replay import ReplayConfig
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import UserError

MIXTURE = "gen_searcher.engines.mixture.Mixture"
BUILT: Mapping[str, frozenset[str]] = {
    "gen_searcher.engines.compositor.Compositor": frozenset(),
    "gen_searcher.engines.painter.EmbeddedPainter": frozenset({"steps", "threads", "batch"}),
    MIXTURE: frozenset({"members"}),
    "gen_searcher.rewards.offline.image_judge.OfflineImageJudge": frozenset(),
    "gen_searcher.rewards.offline.text_judge.OfflineTextJudge": frozenset(),
}
"""What ships and is asked again -> the keywords that a stranger may set: no paths, which could name other weights."""
ANSWERED = frozenset(
    {
        "gen_searcher.engines.diffusers_model.DiffusersModel",
        "gen_searcher.engines.qwen_edit.QwenEditModel",
        "gen_searcher.engines.hosted.ark.ArkImages",
        "gen_searcher.engines.hosted.gemini.GeminiImages",
        "gen_searcher.engines.hosted.openai_images.OpenAIImages",
        "gen_searcher.engines.hosted.reference.ReferenceService",
        "gen_searcher.rewards.chat.image_judge.ChatImageJudge",
        "gen_searcher.rewards.chat.text_judge.ChatTextJudge",
    }
)
"""What ships and is never asked in a replay: the cassette answers for it, whatever its keywords are."""


def check_trusted(cfg: RunConfig, settings: ReplayConfig) -> None:
    """Refuse the record when this replay would import a class of somebody whom nobody has vouched for.

    Raises:
        UserError: Names the place in the configuration, the class, and what to write.
    """
    trusted = settings.trust
    if trusted is None:
        if settings.bundle is None:
            return
        trusted = ()
    for place, target, keywords in _named(cfg, settings):
        if not _is_vouched_for(target, trusted):
            _check_shipped(place, target, keywords)


def _named(cfg: RunConfig, settings: ReplayConfig) -> Iterator[tuple[str, str, Mapping[str, JsonValue]]]:
    """Place, class and keywords of every plug that this replay would import, those within plugs too."""
    plugs: dict[str, Plug] = {}
    if settings.asks_judges:
        plugs |= {f"judges.{name}": plug for name, plug in cfg.judges.items()}
    if settings.pictures == "drawn":
        plugs["generator"] = cfg.generator
    for place, plug in plugs.items():
        yield place, plug.target, plug.keywords
        yield from _within(place, cast("JsonValue", dict(plug.keywords)))


def _within(place: str, value: JsonValue) -> Iterator[tuple[str, str, Mapping[str, JsonValue]]]:
    if isinstance(value, dict):
        target = value.get("target" if value.keys() == {"target", "keywords"} else TARGET_KEY)  # `Plug` reads both
        if isinstance(target, str):
            yield place, target, {name: each for name, each in value.items() if name != TARGET_KEY}
        for name, below in value.items():
            yield from _within(f"{place}.{name}", below)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _within(f"{place}.{number}", below)


def _is_vouched_for(target: str, trusted: tuple[str, ...]) -> bool:
    return any(target == own or target.startswith(f"{own}.") for own in trusted)


def _check_shipped(place: str, target: str, keywords: Mapping[str, JsonValue]) -> None:
    if target in ANSWERED:
        return
    allowed = BUILT.get(target)
    odd = [] if allowed is None else sorted(keywords.keys() - allowed)
    if allowed is not None and not odd:
        return
    found = f"{target}, which does not ship with gen_searcher" if allowed is None else f"{target} with {', '.join(odd)}"
    instead = "replay.judges=taped" if place.startswith("judges.") else "replay.pictures=stored"
    raise UserError(
        f"{place}: the record names {found}, and this replay would run it. If you know who made the record and trust "
        f"them, add `--trust {target}` (a class or a package, several with commas between); `{instead}` runs nothing of it"
    )
