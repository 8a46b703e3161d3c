"""Whether the hosted services of a configuration would serve it: one request to each, and only such as cost nothing.

plug -> its class's `standing`; a `ChatServer` among its keywords -> the server's list of models
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from gen_searcher.commands.placed import Placed, placed
from gen_searcher.config.capability import is_local
from gen_searcher.config.plug import Plug
from gen_searcher.config.rewards import ChatServer
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import (
    ProviderDown,
    ProviderError,
    ProviderOverloaded,
    ProviderRefused,
    Refusal,
    UserError,
)
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import HasStanding
from gen_searcher.tools.api import JsonApi
from gen_searcher.tools.models import model_standing
from gen_searcher.train.run import RunFolder

TIMEOUT_S = 10.0
"""Longest wait for one service; all of them are asked at the same time."""
ADDRESSES = ("base_url", "url")
"""Keywords by which a class that says nothing of itself is known to ask somebody over the network."""
PREFACE = "hosted services, asked once each by requests that cost nothing:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came of one service."""

    at: str
    """The settings that use it, as one text."""
    words: str
    is_problem: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    same: str
    """Equal for one service under one key."""
    at: str
    ask: Callable[[], Awaitable[str]]


async def standings(cfg: RunConfig) -> list[Said]:
    """One entry for each service, in the order of the settings."""
    services: dict[str, list[_Service]] = {}
    for service in _services(cfg):
        services.setdefault(service.same, []).append(service)
    return list(await asyncio.gather(*map(_said, services.values())))


async def _said(uses: Sequence[_Service]) -> Said:
    at = ", ".join(use.at for use in uses)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return Said(at=at, words=await uses[0].ask())
    except TimeoutError:
        words = f"no answer within {TIMEOUT_S:g} s; {_cure(None)}"
    except ProviderOverloaded as error:
        return Said(at=at, words=f"not checked: {error.message}; it is busy, try again later")
    except ProviderError as error:
        words = f"{error.message}; {_cure(error)}"
    except UserError as error:  # a key that is not there, which preflight has said
        return Said(at=at, words=f"not checked: {error}")
    return Said(at=at, words=words, is_problem=True)


def _cure(error: ProviderError | None) -> str:
    if isinstance(error, ProviderRefused):
        if error.refusal is Refusal.QUOTA:
            return "top the account up, or choose another service"
        return "put a valid key behind the reference, or name another with its setting key"
    if error is None or isinstance(error, ProviderDown):
        return (
            "correct its address (base_url), or see whether this machine may reach it; the service itself may be down"
        )
    return "correct the setting model, base_url or key"


def _services(cfg: RunConfig) -> Iterator[_Service]:
    for one in placed(cfg):
        if not one.at.startswith("trackers."):
            yield from _of_plug(one, cfg)
    chats = {"data.propose.writer": cfg.data.propose.writer, "data.collect.chat": cfg.data.collect.chat}
    for at, server in chats.items():
        if server is not None:
            yield _chat(at, server)


def _of_plug(one: Placed, cfg: RunConfig) -> Iterator[_Service]:
    try:
        resolved = one.plug.resolved()
        if is_local(one.plug):
            return
        holds_key = bool(one.plug.secrets(at=one.at))
    except UserError:
        return  # no such class or keyword, which preflight says
    servers = {name: value for name, value in resolved.keywords.items() if isinstance(value, ChatServer)}
    for name, server in servers.items():
        yield _chat(f"{one.at}.{name}", server)
    if servers:
        return
    if inspect.isclass(resolved.target) and issubclass(resolved.target, HasStanding):
        yield _Service(same=_same(one.plug), at=one.at, ask=_ask_plug(one, cfg))
    elif holds_key or any(name in resolved.keywords for name in ADDRESSES):
        yield _Service(same=_same(one.plug), at=one.at, ask=_no_free_call(one.plug.target.rpartition(".")[2]))


def _same(plug: Plug) -> str:
    """Settings that do not say who is asked, with which key and for which model, are left out."""
    told = {name: plug.keywords.get(name) for name in (*ADDRESSES, "key", "model")}
    return json.dumps([plug.target, told], sort_keys=True)


def _ask_plug(one: Placed, cfg: RunConfig) -> Callable[[], Awaitable[str]]:
    added: Mapping[str, object] = {"store": ImageStore(RunFolder(root=cfg.run_dir).images)}

    async def ask() -> str:
        built = cast("HasStanding", one.plug.build(**{name: added[name] for name in one.injected}))
        try:
            return await built.standing()
        finally:
            await built.close()

    return ask


def _chat(at: str, server: ChatServer) -> _Service:
    async def ask() -> str:
        api = JsonApi(provider="chat server", base_url=server.base_url, key=server.key, key_prefix="Bearer ")
        try:
            return await model_standing(api, server.model)
        finally:
            await api.close()

    same = json.dumps(["chat", server.base_url, server.model, server.key and server.key.reference])
    return _Service(same=same, at=at, ask=ask)


def _no_free_call(name: str) -> Callable[[], Awaitable[str]]:
    async def ask() -> str:
        return f"not checked: {name} has no free call that is known here"

    return ask
