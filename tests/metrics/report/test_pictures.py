from __future__ import annotations

import base64
import io
import random
from pathlib import Path

from PIL import Image

from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.report.pictures import LARGE_PX, LOSSLESS_BYTES, PictureTable, data_url
from gen_searcher.types import ImageRef

PREFIX = "data:image/webp;base64,"


def decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix(PREFIX)))).convert("RGB")


def test_a_small_picture_keeps_every_pixel() -> None:
    image = Image.new("RGB", (128, 96), "white")
    image.paste((200, 16, 46), (32, 0, 96, 33))
    assert decoded(data_url(image)).tobytes() == image.tobytes()


def test_a_large_picture_is_scaled_to_its_longer_side() -> None:
    assert decoded(data_url(Image.new("RGB", (1024, 512), "navy"))).size == (LARGE_PX, LARGE_PX // 2)


def test_a_small_noisy_picture_is_not_stored_without_loss() -> None:
    noise = Image.frombytes("RGB", (128, 128), random.Random(0).randbytes(128 * 128 * 3))
    assert len(base64.b64decode(data_url(noise).removeprefix(PREFIX))) < 2 * LOSSLESS_BYTES


def test_each_picture_is_held_once(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    ref = store.put(Image.new("RGB", (8, 8), "red"))
    table = PictureTable(store)
    assert table.key(ref) == table.key(ref) == ref.sha256[:16]
    assert list(table.urls) == [ref.sha256[:16]]
    assert table.urls[ref.sha256[:16]].startswith(PREFIX)


def test_a_picture_that_was_never_stored_is_missing(tmp_path: Path) -> None:
    table = PictureTable(ImageStore(tmp_path))
    key = table.key(ImageRef(sha256="a" * 64, width_px=8, height_px=8))
    assert table.missing == {key}
    assert table.urls == {}
