"""Pictures from strangers: bytes -> bounded RGB picture -> the view that the policy gets."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from PIL import Image

from gen_searcher.errors import ProviderError
from gen_searcher.tools.decode_worker import REPLY, REQUEST
from gen_searcher.tools.guard import Refused

MAX_PIXELS = 16_000_000
"""Largest picture that is decoded; a few kilobytes can claim gigabytes."""

MEMORY_BYTES = 1_500_000_000
"""Address space of the decoding process."""

DECODE_TIMEOUT_S = 20.0
"""A picture that takes longer is refused and its process ended."""

PATCH_PX = 32
"""Both sides of a view are multiples of this, so that no image processor resizes it."""


def fit_for_policy(image: Image.Image, *, side_px: int) -> Image.Image:
    """The picture with its longest side at `side_px` and both sides multiples of 32 px."""
    scale = side_px / max(image.size)
    width_px, height_px = (max(PATCH_PX, round(length * scale / PATCH_PX) * PATCH_PX) for length in image.size)
    return image.convert("RGB").resize((width_px, height_px), Image.Resampling.LANCZOS)


class PictureDecoder:
    """Decodes in one helper process with bounded memory, started on first use and again after it died.

    Thread-safe and blocking: call it in a thread.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, timeout_s: float = DECODE_TIMEOUT_S) -> None:
        """Nothing is started yet."""
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None

    def decode(self, body: bytes, *, side_px: int, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """The picture as RGB without metadata, its longest side at most `side_px`. Raises Refused."""
        with self._lock:
            worker = self._running()
            try:
                image = self._ask(worker, body, side_px, max_pixels)
            except (BrokenPipeError, EOFError, TimeoutError) as error:
                self._end()
                raise Refused("the picture cannot be decoded") from error
        if isinstance(image, str):
            raise Refused(f"the picture cannot be used: {image}")
        return image

    def close(self) -> None:
        """End the helper process."""
        with self._lock:
            self._end()

    def __enter__(self) -> PictureDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._worker is None or self._worker.poll() is not None:
            self._end()
            script = Path(__file__).with_name("decode_worker.py")
            command = [sys.executable, "-I", str(script), str(self._memory_bytes)]
            self._worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._worker

    def _ask(self, worker: subprocess.Popen[bytes], body: bytes, side_px: int, max_pixels: int) -> Image.Image | str:
        if worker.stdin is None or worker.stdout is None:
            raise ProviderError("the picture decoder has no pipes", "image_search")
        worker.stdin.write(REQUEST.pack(len(body), side_px, max_pixels))
        worker.stdin.write(body)
        worker.stdin.flush()
        deadline_s = time.monotonic() + self._timeout_s
        ok, width_px, height_px = REPLY.unpack(_read(worker, REPLY.size, deadline_s))
        if not ok:
            return _read(worker, height_px, deadline_s).decode()
        return Image.frombytes("RGB", (width_px, height_px), _read(worker, width_px * height_px * 3, deadline_s))

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


def _read(worker: subprocess.Popen[bytes], length: int, deadline_s: float) -> bytes:
    """Exactly `length` bytes. Waits for the worker to write them, until the deadline."""
    if worker.stdout is None:
        raise EOFError
    received = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while len(received) < length:
            if not selector.select(max(0.0, deadline_s - time.monotonic())):
                raise TimeoutError
            chunk = os.read(worker.stdout.fileno(), length - len(received))
            if not chunk:
                raise EOFError
            received += chunk
    return bytes(received)
