"""Bytes from strangers -> RGB pixels, in a process of its own with little memory.

Run as a file, with nothing but the standard library and Pillow: `python -I decode_worker.py MEMORY_BYTES`.
Reads requests (`!III`: body length, longest side, most pixels; then the body) and writes replies (`!BII`: ok, width,
height, then pixels; or 0, 0 and the length of a reason, then the reason) until its input ends.
"""

from __future__ import annotations

import io
import resource
import struct
import sys
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP")
REQUEST = struct.Struct("!III")
REPLY = struct.Struct("!BII")


class NotAPicture(Exception):
    """The bytes are no picture that we take."""


def decode(body: bytes, *, side_px: int, max_pixels: int) -> Image.Image:
    """The first frame as RGB without metadata, on white, shrunk to `side_px` on its longest side."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(body), formats=FORMATS) as opened:
            warnings.simplefilter("ignore")
            width, height = opened.size
            if width < 1 or height < 1 or width * height > max_pixels:
                raise NotAPicture(f"{width}x{height} px are too many")
            opened.load()
            return _plain(opened, side_px)
    except UnidentifiedImageError:
        raise NotAPicture("it is no PNG, JPEG or WebP") from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise NotAPicture(f"it is broken ({type(error).__name__})") from error


def _plain(opened: Image.Image, side_px: int) -> Image.Image:
    image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        image = image.point(lambda value: value / 256).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        front = image.convert("RGBA")
        back = Image.new("RGBA", front.size, "white")
        image = Image.alpha_composite(back, front)
    image = image.convert("RGB")
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return Image.frombytes("RGB", image.size, image.tobytes())


def main() -> None:
    """Serve requests until the input ends."""
    memory_bytes = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(REQUEST.size)) == REQUEST.size:
        length, side_px, max_pixels = REQUEST.unpack(head)
        body = source.read(length)
        try:
            image = decode(body, side_px=side_px, max_pixels=max_pixels)
        except NotAPicture as error:
            reason = str(error).encode()
            sink.write(REPLY.pack(0, 0, len(reason)) + reason)
        except MemoryError:
            reason = b"it needs too much memory"
            sink.write(REPLY.pack(0, 0, len(reason)) + reason)
        else:
            sink.write(REPLY.pack(1, *image.size) + image.tobytes())
        sink.flush()


if __name__ == "__main__":
    main()
