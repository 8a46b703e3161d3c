"""A provider's API: one HTTP request -> one JSON object, or a typed error.

No retries, no redirects (a key must not follow one), a deadline for the whole answer and a bound on its size. Who may
ask how often, and what is tried again, is decided above this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import cast

import aiohttp
from yarl import URL

from gen_searcher.config.secrets import Secret
from gen_searcher.errors import (
    ConfigError,
    ProviderDown,
    ProviderError,
    ProviderInvalid,
    ProviderOverloaded,
    ProviderRefused,
    Refusal,
)
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.http import read_body, told_wait_s
from gen_searcher.tools.words import one_line

Fields = Mapping[str, object]
"""A JSON object."""

Headers = Mapping[str, str]

TIMEOUT_S = 30.0
MAX_BYTES = 2_000_000
"""Largest answer that is read, after decompression: ten results take some tens of kilobytes."""

_ERROR_BYTES = 65_536
"""How much of an error answer is read."""

_ERROR_CHARS = 200
"""How much of the provider's own words an error repeats."""

_QUOTA = re.compile(r"credit|quota|balance|billing|payment|(?:usage|plan)('s)?[ _](?:usage )?limit", re.IGNORECASE)
_KEY = re.compile(
    r"unauthori[sz]ed|forbidden|(?:invalid|missing|wrong|incorrect)\W+(?:api\W*)?(?:key|token)", re.IGNORECASE
)
_PAYMENT = frozenset({402, 432, 433})
"""Payment required; 432 and 433 are Tavily's limits of a plan and of pay-as-you-go."""


def wait_as_told(headers: Headers) -> float | None:
    """Seconds by `Retry-After`."""
    return told_wait_s(headers)


class JsonApi:
    """One provider. Opens its connections on first use."""

    def __init__(
        self,
        *,
        provider: str,
        base_url: str,
        key: Secret | None = None,
        key_header: str = "Authorization",
        key_prefix: str = "",
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
        wait_s: Callable[[Headers], float | None] = wait_as_told,
        quotes_others: bool = False,
    ) -> None:
        """`provider` names it in errors; the key goes into `key_header`, after `key_prefix`, and nowhere else.

        `quotes_others`: its errors repeat addresses and words of pages, so that only their status says what is wrong.
        """
        url = URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"{provider}: base_url {base_url!r} is not an http or https address")
        self.provider = provider
        self._base = base_url.rstrip("/")
        self._key = key
        self._key_header = key_header
        self._key_prefix = key_prefix
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._wait_s = wait_s
        self._quotes_others = quotes_others
        self._session: aiohttp.ClientSession | None = None

    async def get(
        self, path: str, *, stage: str, query: Mapping[str, str] | None = None, headers: Headers | None = None
    ) -> Fields:
        """GET `path` as it is, with `query` encoded behind it.

        Args:
            path: From the base address on, already encoded.
            stage: Names the caller in errors.
            query: Parameters.
            headers: Beside the key.

        Raises:
            ProviderDown, ProviderOverloaded, ProviderRefused, ProviderInvalid: See there.
        """
        url = URL(f"{self._base}{path}", encoded=True)
        return await self._ask("GET", url.update_query(query) if query else url, stage, headers, None)

    async def post(self, path: str, *, stage: str, body: Fields) -> Fields:
        """POST `body` as JSON to `path`. Raises as `get` does."""
        return await self._ask("POST", URL(f"{self._base}{path}", encoded=True), stage, None, body)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, method: str, url: URL, stage: str, headers: Headers | None, body: Fields | None) -> Fields:
        key = self._revealed()
        sent = {**(headers or {}), **({self._key_header: f"{self._key_prefix}{key}"} if key else {})}
        # Nothing that is raised here keeps its cause: a cause can hold the request with its headers.
        try:
            async with self._open().request(method, url, headers=sent, json=body, allow_redirects=False) as response:
                if response.status == 200:
                    return self._object(await read_body(response, self._max_bytes), stage, key)
                words = scrub(await _error_words(response), key)
                raise failure(
                    words,
                    status=response.status,
                    wait_s=self._wait_s(response.headers),
                    provider=self.provider,
                    stage=stage,
                    quotes_others=self._quotes_others,
                )
        except Refused as refused:
            raise ProviderInvalid(f"{self.provider}: the answer cannot be read: {refused.reason}", stage) from None
        except TimeoutError:
            raise ProviderDown(f"{self.provider}: no answer within {self._timeout_s:g} s", stage) from None
        except aiohttp.ClientPayloadError:
            raise ProviderDown(f"{self.provider}: the answer broke off", stage) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderDown(f"{self.provider}: no connection ({type(error).__name__})", stage) from None

    def _object(self, body: bytes, stage: str, key: str) -> Fields:
        text = body.decode("utf-8", errors="replace").strip()
        if not text:
            raise ProviderDown(f"{self.provider}: an empty answer", stage)
        try:
            value: object = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            if text.startswith(("{", "[")):
                raise ProviderDown(f"{self.provider}: the answer is broken JSON", stage) from None
            shown = scrub(one_line(text, 60), key)
            raise ProviderInvalid(f"{self.provider}: the answer is no JSON: {shown}", stage) from None
        if not isinstance(value, dict):
            raise ProviderInvalid(f"{self.provider}: the answer is no JSON object", stage)
        return cast("dict[str, object]", value)

    def _revealed(self) -> str:
        if self._key is None:
            return ""
        key = self._key.reveal()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the secret {self._key.reference} holds characters that no HTTP header takes")
        return key

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers={
                    "User-Agent": "gen-searcher",
                    "Accept": "application/json",
                    "Accept-Encoding": "gzip, deflate",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def failure(
    words: str,
    *,
    status: int,
    provider: str,
    stage: str,
    wait_s: float | None = None,
    quotes_others: bool = False,
) -> ProviderError:
    """The error that an answer stands for.

    Args:
        words: The provider's own, unless it `quotes_others`: then nothing is read into them.
        status: 200 for an error in disguise.
        provider: Who answered.
        stage: Who asked.
        wait_s: What the provider asked for.
        quotes_others: See `JsonApi`.
    """
    said = f"{provider}: status {status}" + (f": {one_line(words, _ERROR_CHARS)}" if words.strip() else "")
    if status == 429 or (status >= 500 and wait_s is not None):
        return ProviderOverloaded(said, stage, wait_s)
    if status >= 500 or status == 408:
        return ProviderDown(said, stage)
    if status in _PAYMENT or (not quotes_others and status in (200, 400, 401, 403) and _QUOTA.search(words)):
        return ProviderRefused(said, stage, Refusal.QUOTA)
    if status == 401 or (not quotes_others and (status == 403 or (status in (200, 400) and _KEY.search(words)))):
        return ProviderRefused(said, stage, Refusal.KEY)
    return ProviderInvalid(said, stage)


def scrub(text: str, key: str) -> str:
    """`text` without the key: some servers repeat what they were sent."""
    return text.replace(key, "[key]") if key else text


def said_error(value: object) -> str:
    """The words of an error answer: the first text under a key that providers use for it, however deep; else empty."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    fields = cast("dict[str, object]", value)
    for name in ("error", "message", "detail", "errors", "readableMessage", "code"):
        words = said_error(fields.get(name))
        if words:
            return words
    return ""


async def _error_words(response: aiohttp.ClientResponse) -> str:
    try:
        text = (await read_body(response, _ERROR_BYTES)).decode("utf-8", errors="replace").strip()
    except Refused:
        return ""
    try:
        return said_error(json.loads(text)) or text
    except (ValueError, RecursionError):
        return "" if text.startswith("<") else text


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
