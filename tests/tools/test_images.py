from __future__ import annotations

import io
import statistics
import struct
import time
import zlib
from collections.abc import Iterator

import pytest
from PIL import Image

from gen_searcher.tools.guard import Refused
from gen_searcher.tools.images import PictureDecoder, fit_for_policy


@pytest.fixture(scope="module")
def decoder() -> Iterator[PictureDecoder]:
    with PictureDecoder() as decoder:
        yield decoder


def coded(image: Image.Image, kind: str = "PNG", **keywords: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **keywords)
    return buffer.getvalue()


def claimed_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_are_decoded(decoder: PictureDecoder, kind: str) -> None:
    image = decoder.decode(coded(Image.new("RGB", (40, 30), (200, 10, 10)), kind), side_px=1000)
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert all(abs(got - put) < 8 for got, put in zip(image.tobytes()[:3], (200, 10, 10), strict=True))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "EPS", "ICO"])
def test_other_formats_are_refused_whatever_they_are_called(decoder: PictureDecoder, kind: str) -> None:
    with pytest.raises(Refused, match="it is no PNG, JPEG or WebP"):
        decoder.decode(coded(Image.new("RGB", (40, 30)), kind), side_px=1000)


def test_a_drawing_in_markup_is_refused(decoder: PictureDecoder) -> None:
    with pytest.raises(Refused, match="no PNG"):
        decoder.decode(b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', side_px=100)


@pytest.mark.parametrize("side", [4001, 9000, 20_000, 65_000])
def test_a_few_bytes_that_claim_many_pixels_are_refused(decoder: PictureDecoder, side: int) -> None:
    with pytest.raises(Refused, match=r"are too many|DecompressionBomb"):
        decoder.decode(claimed_png(side, side), side_px=100)


def test_broken_files_are_refused(decoder: PictureDecoder) -> None:
    whole = coded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
    for body in (b"", b"\x89PNG\r\n\x1a\n", whole[: len(whole) // 2], claimed_png(100, 100), claimed_png(0, 10)):
        with pytest.raises(Refused, match="the picture cannot be used"):
            decoder.decode(body, side_px=100)


def test_only_the_first_frame_is_taken(decoder: PictureDecoder) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue", "green")]
    body = coded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decoder.decode(body, side_px=100).getpixel((5, 5)) == (255, 0, 0)


def test_transparency_lies_on_white(decoder: PictureDecoder) -> None:
    assert decoder.decode(coded(Image.new("RGBA", (8, 8), (0, 0, 0, 0))), side_px=100).getpixel((4, 4)) == (
        255,
        255,
        255,
    )
    palette = Image.new("P", (8, 8), 0)
    assert decoder.decode(coded(palette, transparency=0), side_px=100).getpixel((4, 4)) == (255, 255, 255)


def test_deep_and_print_colours_become_rgb(decoder: PictureDecoder) -> None:
    deep = Image.new("I;16", (8, 8), 32_768)
    assert decoder.decode(coded(deep), side_px=100).getpixel((4, 4)) == (128, 128, 128)
    assert decoder.decode(coded(Image.new("CMYK", (8, 8)), "JPEG"), side_px=100).mode == "RGB"


def test_metadata_is_gone_and_its_rotation_applied(decoder: PictureDecoder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "canary"
    image = decoder.decode(coded(Image.new("RGB", (40, 20)), "JPEG", exif=exif), side_px=100)
    assert image.size == (20, 40)
    assert image.info == {}


def test_the_longest_side_is_capped(decoder: PictureDecoder) -> None:
    assert decoder.decode(coded(Image.new("RGB", (400, 100))), side_px=200).size == (200, 50)


def test_a_helper_that_died_is_started_again() -> None:
    with PictureDecoder(memory_bytes=300_000_000) as decoder:
        body = coded(Image.new("RGB", (8, 8)))
        assert decoder.decode(body, side_px=8).size == (8, 8)
        with pytest.raises(Refused):
            decoder.decode(b"\0" * 320_000_000, side_px=8)
        assert decoder.decode(body, side_px=8).size == (8, 8)


@pytest.mark.slow  # a stopwatch: for a quiet machine
def test_the_helper_costs_less_than_three_milliseconds_a_picture(decoder: PictureDecoder) -> None:
    body = coded(Image.effect_noise((128, 128), 50).convert("RGB"), "WEBP")
    decoder.decode(body, side_px=1024)
    spent_s: list[float] = []
    for _ in range(20):
        start_s = time.perf_counter()
        decoder.decode(body, side_px=1024)
        spent_s.append(time.perf_counter() - start_s)
    assert statistics.median(spent_s) < 0.003  # decoding itself is most of it


@pytest.mark.parametrize(
    ("size", "side_px", "fitted"),
    [
        ((128, 128), 64, (64, 64)),
        ((100, 10), 64, (64, 32)),
        ((10, 1000), 256, (32, 256)),
        ((640, 480), 384, (384, 288)),
        ((30, 30), 64, (64, 64)),
    ],
)
def test_a_view_has_sides_in_multiples_of_thirty_two(
    size: tuple[int, int], side_px: int, fitted: tuple[int, int]
) -> None:
    assert fit_for_policy(Image.new("RGB", size), side_px=side_px).size == fitted
