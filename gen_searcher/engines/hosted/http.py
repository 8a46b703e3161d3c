"""One POST to an image model: request -> bounded reply -> JSON, every failure typed.

408, 425, 500, 502, 503, 504, no connection, timeout -> GeneratorUnavailable      429, 529 -> GeneratorOverloaded
404, 410; 401, 402, 403; any below 500 whose code names the model, the key or the account
                                                     -> GeneratorGone: the run stops
400, 403, 422 whose code names a content policy      -> GeneratorRefused
any other status                                     -> GeneratorInvalid
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import aiohttp
from PIL import Image

from gen_searcher.config.secrets import Secret
from gen_searcher.engines.hosted.problem import read_problem
from gen_searcher.errors import (
    GeneratorError,
    GeneratorGone,
    GeneratorInvalid,
    GeneratorOverloaded,
    GeneratorRefused,
    GeneratorUnavailable,
)
from gen_searcher.tools.http import told_wait_s

MAX_REPLY_BYTES = 64_000_000
"""A 4K picture as base64 PNG is about 40 MB."""
MAX_PIXELS = 4096 * 4096
"""Largest picture that is decoded."""
FORMATS = ("PNG", "JPEG", "WEBP")
SHOWN_CHARS = 300
"""How much of a stranger's message goes into ours."""
_PASSING = frozenset({408, 425, 500, 502, 503, 504})
_BUSY = frozenset({429, 529})
_GONE = frozenset({404, 410})
_KEY = frozenset({401, 402, 403})
_DECLINING = frozenset({400, 403, 422})

Form = Callable[[], aiohttp.FormData]
"""Makes a multipart body; a form can be sent once."""


class Service:
    """One model's server. Opens its connections on first use and keeps them between drawings."""

    def __init__(
        self, url: str, *, key: Secret | None = None, key_header: str = "Authorization", timeout_s: float = 300.0
    ) -> None:
        """`Authorization` sends `Bearer KEY`; any other header sends the bare key. A reply may take `timeout_s`."""
        self._url = url.rstrip("/")
        self._key = key
        self._key_header = key_header
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(30.0, timeout_s))
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, path: str = "", *, body: Mapping[str, object] | None = None, form: Form | None = None
    ) -> Mapping[str, object]:
        """The reply's JSON object. Redirects are not followed: they would carry key and pictures elsewhere."""
        url = self._url + path
        headers = self._headers()
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        data = None if form is None else form()
        try:
            async with self._session.post(
                url, json=body, data=data, headers=headers, allow_redirects=False
            ) as response:
                reply = await _bounded(response)
                check_status(response.status, reply, wait_s=told_wait_s(response.headers))
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise GeneratorUnavailable(f"{url}: {type(error).__name__}: {error}") from error
        try:
            found = json.loads(reply)
        except ValueError as error:
            raise GeneratorError(f"{url} answered no JSON: {_shown(reply)}") from error
        if not isinstance(found, dict):
            raise GeneratorError(f"{url} answered no JSON object: {_shown(reply)}")
        return cast("Mapping[str, object]", found)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _headers(self) -> dict[str, str]:
        """The key, read now. Raises ConfigError when it is not there."""
        if self._key is None:
            return {}
        value = self._key.reveal()
        return {self._key_header: f"Bearer {value}" if self._key_header == "Authorization" else value}


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    received = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        received += chunk
        if len(received) > MAX_REPLY_BYTES:
            raise GeneratorError(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
    return bytes(received)


def check_status(status: int, reply: bytes, *, wait_s: float | None) -> None:
    """Raise what the status means; return for 2xx. `wait_s` is what the server asks for."""
    if 200 <= status < 300:
        return
    message = f"HTTP {status}: {_shown(reply)}"
    problem = read_problem(reply)
    if status < 500 and problem.is_of_account:  # 400 and 429 among them
        raise GeneratorGone(f"the image model refuses the key or the account (HTTP {status})")
    if status in _BUSY:
        raise GeneratorOverloaded(message, retry_after_s=wait_s)
    if status in _PASSING:
        raise GeneratorUnavailable(message)
    if status in _GONE or problem.is_of_model:
        raise GeneratorGone(f"the image model is not there: {message}")
    if status in _DECLINING and problem.is_refusal:
        raise GeneratorRefused(message)
    if status in _KEY:  # the body is not repeated: services quote the key in it
        raise GeneratorGone(f"the image model refuses the key or the account (HTTP {status})")
    raise GeneratorInvalid(message)


def field(value: object, *path: str | int) -> object:
    """What lies at `path` in parsed JSON. Raises GeneratorError when it is not there."""
    for step in path:
        if isinstance(value, dict) and step in value:
            value = cast("Mapping[object, object]", value)[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(cast("Sequence[object]", value)):
            value = cast("Sequence[object]", value)[step]
        else:
            raise GeneratorError(f"the reply has no {'.'.join(map(str, path))}")
    return value


def decode_base64(text: object) -> Image.Image:
    """A picture from base64 text, RGB, under limits. Raises GeneratorError."""
    if not isinstance(text, str):
        raise GeneratorError("the reply holds no picture as base64 text")
    try:
        return decode(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise GeneratorError(f"the picture is not base64: {error}") from error


def decode(body: bytes) -> Image.Image:
    """A picture from bytes, RGB, under limits. Raises GeneratorError."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(body), formats=FORMATS) as opened:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if opened.width * opened.height > MAX_PIXELS:
                raise GeneratorError(f"the picture claims {opened.width}x{opened.height} px")
            return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GeneratorError(f"the picture cannot be decoded: {type(error).__name__}") from error


def png(image: Image.Image) -> bytes:
    """The picture as PNG."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def data_url(image: Image.Image) -> str:
    """The picture as a PNG data URL."""
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"


def _shown(reply: bytes) -> str:
    return reply[: 4 * SHOWN_CHARS].decode(errors="replace")[:SHOWN_CHARS]
