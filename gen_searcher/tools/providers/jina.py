"""Pages by the Jina reader (r.jina.ai), which fetches and renders them on its own machines."""

from __future__ import annotations

import re

from gen_searcher.config.secrets import Secret
from gen_searcher.errors import ProviderInvalid
from gen_searcher.tools.api import JsonApi
from gen_searcher.tools.guard import Refused, check_url
from gen_searcher.tools.reply import inner, text
from gen_searcher.web import Page

STAGE = "browse"

TIMEOUT_S = 50.0
"""Seconds for a page: it takes eight on average and renders what needs it."""

MAX_BYTES = 5_000_000

MAX_TEXT_CHARS = 200_000
"""Text kept of one page."""

_GONE = re.compile(r"returned error (?:404|410)\b")
_FAILED = re.compile(r"returned error (\d{3})\b")
_PAGES_FAULT = re.compile(r"status (?:(?:400|404|409|422|451)\b|403: )")
"""What the reader answers when it cannot or may not read this page. A 403 without words of its own is a wall before it."""


class JinaReader:
    """Implements `PageReader`. Raises `Refused` for addresses and pages that are not taken."""

    def __init__(
        self,
        *,
        key: Secret | None = None,
        usd_per_request: float = 0.0,
        base_url: str = "https://r.jina.ai",
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Without a key twenty pages a minute are served. It is billed by tokens: `usd_per_request` is your average."""
        self._api = JsonApi(
            provider="jina",
            base_url=base_url,
            key=key,
            key_prefix="Bearer ",
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            quotes_others=True,
        )
        self.usd_per_request = usd_per_request
        """What a page costs; nobody is asked for it."""

    async def read(self, url: str) -> Page | None:
        """The page as Markdown without pictures, or None when its server says there is none."""
        wanted = check_url(url)
        try:
            answer = await self._api.get(f"/{wanted}", stage=STAGE, headers={"X-Retain-Images": "none"})
        except ProviderInvalid as error:
            if _PAGES_FAULT.search(error.message):
                raise Refused("the reader cannot read this page") from None
            raise
        data = inner(answer, "data")
        if not data:
            raise ProviderInvalid("jina: the answer has no 'data'", STAGE)
        warning = text(data, "warning")
        if _GONE.search(warning):
            return None
        failed = _FAILED.search(warning)
        if failed is not None:
            raise Refused(f"the server answered with status {failed[1]}")
        if not isinstance(data.get("content"), str):
            raise ProviderInvalid("jina: the answer has no 'content'", STAGE)
        return Page(
            url=text(data, "url") or str(wanted),
            title=" ".join(text(data, "title").split()),
            text=text(data, "content")[:MAX_TEXT_CHARS],
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()
