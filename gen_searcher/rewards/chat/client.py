"""Asks a chat-completions server: question -> reply -> verdict, or a typed error after so many tries.

200 with a verdict          -> the verdict, with model, cost and latency
200 with anything else      -> JudgeInvalid, asked again with another seed
a refusal, a content filter -> JudgeRefused, not asked again
429, 503, 529               -> JudgeOverloaded, asked again when the server says
other 5xx, 408, no answer   -> JudgeUnavailable, asked again
401, 402, 403, 404, 410     -> JudgeGone: the model or the key will not come back, the run stops
400, 413, 414, 415, 422     -> JudgeUnable: this question cannot be asked, now or later
any other status            -> JudgeError
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from gen_searcher.config.rewards import ChatServer
from gen_searcher.config.secrets import redact
from gen_searcher.errors import (
    JudgeError,
    JudgeGone,
    JudgeInvalid,
    JudgeOverloaded,
    JudgeRefused,
    JudgeUnable,
    JudgeUnavailable,
)
from gen_searcher.rewards.chat.question import Question, body
from gen_searcher.tools.http import told_wait_s
from gen_searcher.tools.words import clip
from gen_searcher.types import Judgement

Verdict = TypeVar("Verdict")
Pause = Callable[[float], Awaitable[None]]

REPLY_CHARS = 4000
"""Longest reply that a judgement keeps: a verdict and its reasons take some hundreds of characters."""
_MAX_REPLY_BYTES = 4 << 20
_SHOWN_CHARS = 200
_KEY_STATUSES = frozenset({401, 403})
_GONE_STATUSES = frozenset({404, 410})
_GONE_CODES = frozenset({"model_not_found", "model_deprecated", "deployment_not_found"})
_CREDIT_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_FILTER_CODES = frozenset({"content_policy_violation", "content_filter", "moderation_blocked"})
_FLAG_KEYS = frozenset({"flagged_input", "reasons"})
_UNABLE_STATUSES = frozenset({400, 413, 414, 415, 422})
_BUSY_STATUSES = frozenset({429, 503, 529})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Verdict]):
    """A verdict and what it took."""

    verdict: Verdict
    model: str
    """As the server names itself, e.g. with the date of the snapshot."""
    cost_usd: float
    """Over all tries, failed ones too, as far as the server said what it counted."""
    latency_s: float
    """Over all tries and pauses."""
    tries: int
    reply: str
    """The text that the verdict was read from, without secrets, at most `REPLY_CHARS`."""

    def judgement(
        self, judge: str, *, score: float, parts: Mapping[str, float | None], rationale: str, prompt_sha256: str
    ) -> Judgement:
        """What the judge called `judge` makes of it, with who said it and what that took."""
        return Judgement(
            judge=judge,
            score=score,
            parts=parts,
            rationale=rationale,
            model=self.model,
            prompt_sha256=prompt_sha256,
            latency_s=self.latency_s,
            cost_usd=self.cost_usd,
            reply=self.reply,
        )


class _Wire(BaseModel):
    """A part of a reply; what we do not read may be there."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Message(_Wire):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Wire):
    message: _Message
    finish_reason: str | None = None


class _Cached(_Wire):
    cached_tokens: int | None = 0


class _Usage(_Wire):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _Cached | None = None


class _Completion(_Wire):
    model: str
    choices: tuple[_Choice, ...]
    usage: _Usage | None = None


class _Problem(_Wire):
    message: str = ""
    code: str | int | None = None
    metadata: object = None
    """OpenRouter's; its moderation tells there what it flagged, under a status that else means the key."""

    @property
    def is_flagged(self) -> bool:
        held = self.metadata
        return isinstance(held, dict) and not _FLAG_KEYS.isdisjoint(cast("Mapping[str, object]", held))


class _ProblemBody(_Wire):
    error: _Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """What one request brought."""

    status: int
    retry_after_s: float | None
    text: str


class ChatClient:
    """One server; opens its connections on first use and keeps at most `concurrency` questions in flight."""

    def __init__(self, server: ChatServer, *, pause: Pause = asyncio.sleep) -> None:
        """`pause` waits between tries."""
        self._server = server
        self._pause = pause
        self._free = asyncio.Semaphore(server.concurrency)
        self._session: aiohttp.ClientSession | None = None

    @property
    def server(self) -> ChatServer:
        """Who is asked."""
        return self._server

    async def ask(self, question: Question, read: Callable[[str], Verdict]) -> Answer[Verdict]:
        """Ask until there is a verdict or the tries are used up.

        Args:
            question: What to ask.
            read: Reply text to verdict; raises JudgeInvalid for a text that is none.

        Raises:
            JudgeError: No verdict; its class says why.
            JudgeGone: This server will never give one.
        """
        started = time.perf_counter()
        cost_usd = 0.0
        for number in range(self._server.tries):
            try:
                async with self._free:
                    reply = await self._post(question, seed=number)
                completion = self._completion(reply)
                cost_usd += self._cost(completion)
                said = _content(completion)
                verdict = read(said)
            except (JudgeUnavailable, JudgeInvalid) as error:
                wait_s = self._wait_s(number, error)
                if number + 1 == self._server.tries or wait_s is None:
                    error.add_note(f"{number + 1} tries, {cost_usd:.4f} USD")
                    raise
                await self._pause(wait_s)
                continue
            return Answer(
                verdict=verdict,
                model=completion.model,
                cost_usd=cost_usd,
                latency_s=time.perf_counter() - started,
                tries=number + 1,
                reply=clip(redact(said), REPLY_CHARS),  # in this order: half a key at the cut is one that nobody finds
            )
        raise AssertionError("tries is at least 1")

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, question: Question, *, seed: int) -> _Reply:
        server = self._server
        headers = {} if server.key is None else {"Authorization": f"Bearer {server.key.reveal()}"}
        data = body(question, server=server, seed=seed)
        url = f"{server.base_url.rstrip('/')}/chat/completions"
        try:
            async with self._open().post(url, json=data, headers=headers, allow_redirects=False) as response:
                return _Reply(
                    status=response.status,
                    retry_after_s=told_wait_s(response.headers),
                    text=await _text(response),
                )
        except TimeoutError as error:
            raise JudgeUnavailable(f"{server.model}: no answer within {server.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise JudgeUnavailable(f"{server.model}: {type(error).__name__}: {error}") from error

    def _completion(self, reply: _Reply) -> _Completion:
        if reply.status != 200:
            raise self._problem(reply)
        try:
            return _Completion.model_validate_json(reply.text)
        except ValidationError as error:
            raise JudgeInvalid(f"{self._server.model}: not a chat completion: {_shown(reply.text)}") from error

    def _problem(self, reply: _Reply) -> Exception:
        model, status = self._server.model, reply.status
        problem = _problem_in(reply.text)
        code = str(problem.code or "")
        said = f"{model}: status {status}: {_shown(problem.message)}"
        if code in _FILTER_CODES or (status == 403 and problem.is_flagged):
            return JudgeRefused(said)
        if code in _GONE_CODES or status in _GONE_STATUSES:
            return JudgeGone(f"the judge's model {model!r} is not served (any more) at {self._server.base_url}: {said}")
        if status in _KEY_STATUSES:  # the body is not repeated: servers quote the key in it
            return JudgeGone(f"{self._server.base_url} refuses the judge's key (status {status}); set server.key")
        if status == 402 or code in _CREDIT_CODES:
            return JudgeGone(f"the judge's credit at {self._server.base_url} is spent: {said}")
        if status in _BUSY_STATUSES:
            return JudgeOverloaded(said, retry_after_s=reply.retry_after_s)
        if status >= 500 or status == 408:
            return JudgeUnavailable(said)
        return JudgeUnable(said) if status in _UNABLE_STATUSES else JudgeError(said)

    def _cost(self, completion: _Completion) -> float:
        server, usage = self._server, completion.usage
        if usage is None:
            if server.usd_per_m_input or server.usd_per_m_output:
                raise JudgeInvalid(f"{server.model}: the reply has no usage, so that its price is unknown")
            return 0.0
        details = usage.prompt_tokens_details
        cached = min(usage.prompt_tokens, (details.cached_tokens or 0) if details is not None else 0)
        cached_price = (
            server.usd_per_m_input if server.usd_per_m_cached_input is None else server.usd_per_m_cached_input
        )
        paid = (usage.prompt_tokens - cached) * server.usd_per_m_input + cached * cached_price
        return (paid + usage.completion_tokens * server.usd_per_m_output) / 1e6

    def _wait_s(self, number: int, error: JudgeError) -> float | None:
        """The pause before the next try; None when the server asks for more than we wait."""
        backoff_s = min(self._server.retry_max_s, self._server.retry_base_s * 2**number)
        told_s = error.retry_after_s if isinstance(error, JudgeOverloaded) else None
        if told_s is None:
            return 0.0 if isinstance(error, JudgeInvalid) else backoff_s
        return max(backoff_s, told_s) if told_s <= self._server.retry_max_s else None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._server.timeout_s),
                connector=aiohttp.TCPConnector(limit=self._server.concurrency),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _content(completion: _Completion) -> str:
    """The text of the first choice."""
    if not completion.choices:
        raise JudgeInvalid(f"{completion.model}: the reply has no choice")
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise JudgeRefused(f"{completion.model} declines: {_shown(choice.message.refusal or 'content filter')}")
    if choice.finish_reason == "length":
        raise JudgeInvalid(f"{completion.model}: the verdict is cut; raise server.max_tokens")
    if not choice.message.content:
        raise JudgeInvalid(f"{completion.model}: the verdict is empty")
    return choice.message.content


def _problem_in(text: str) -> _Problem:
    """What an error body says; vLLM writes a number as code, proxies write anything."""
    try:
        return _ProblemBody.model_validate_json(text).error
    except ValidationError:
        return _Problem(message=text)


async def _text(response: aiohttp.ClientResponse) -> str:
    received = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        received += chunk
        if len(received) > _MAX_REPLY_BYTES:
            raise JudgeInvalid(f"a reply of more than {_MAX_REPLY_BYTES} bytes")
    return received.decode("utf-8", errors="replace")


def _shown(text: str) -> str:
    return json.dumps(" ".join(text.split())[:_SHOWN_CHARS], ensure_ascii=False)
