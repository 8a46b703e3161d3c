"""Pictures of the page: each one small, once, as a data URL under its digest."""

from __future__ import annotations

import base64
import io

from PIL import Image

from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef

SMALL_PX = 160
"""Pictures up to this side keep every pixel: the embedded world's 128 x 96 are shown pixelated, enlarged."""
LARGE_PX = 320
"""Longer sides are scaled down to this."""
LOSSLESS_BYTES = 12_000
KEY_LENGTH = 16
"""Hex digits of the digest that name a picture on the page."""


def data_url(image: Image.Image) -> str:
    """WebP: lossless for a small drawing, lossy for what would be large."""
    small = image.convert("RGB")
    if max(small.size) > SMALL_PX:
        small.thumbnail((LARGE_PX, LARGE_PX), Image.Resampling.LANCZOS)
        data = _webp(small, quality=75)
    else:
        data = _webp(small, quality=80, lossless=True)
        if len(data) > LOSSLESS_BYTES:
            data = _webp(small, quality=85)
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")


def _webp(image: Image.Image, *, quality: int, lossless: bool = False) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=quality, lossless=lossless, method=4)
    return buffer.getvalue()


class PictureTable:
    """The pictures that the page holds so far."""

    def __init__(self, *stores: ImageStore, encoded: dict[str, str] | None = None) -> None:
        """A picture that none of the `stores` holds is shown as missing; `encoded` keeps data URLs between pages."""
        self._stores = stores
        self._encoded: dict[str, str] = {} if encoded is None else encoded
        self.urls: dict[str, str] = {}
        """Key to data URL."""
        self.missing: set[str] = set()

    def key(self, ref: ImageRef) -> str:
        """Name of the picture on the page; it is encoded when asked for the first time."""
        key = ref.sha256[:KEY_LENGTH]
        if key not in self.urls and key not in self.missing:
            url = self._encoded.get(ref.sha256) or self._encode(ref)
            if url:
                self.urls[key] = self._encoded[ref.sha256] = url
            else:
                self.missing.add(key)
        return key

    def _encode(self, ref: ImageRef) -> str:
        """Empty when no store can read the picture."""
        for store in self._stores:
            try:
                return data_url(store.get(ref))
            except (OSError, SyntaxError, ValueError):
                continue
        return ""
