"""Picture files of strangers -> the store: decoded within limits, turned upright, on white, and read once."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from gen_searcher.bench.journal import Journal, digest
from gen_searcher.image_store import MAX_SIDE_PX, ImageStore
from gen_searcher.tools.decode_worker import NotAPicture, decode
from gen_searcher.types import ImageRef

MAX_PIXELS = 80_000_000
"""Larger than any benchmark's pictures, and below what Pillow warns of."""
MAX_BYTES = 200 << 20
_REF = TypeAdapter(ImageRef)


class NoPicture(Exception):
    """A file that is no picture or not there; the text says which."""


class PictureFiles:
    """Files -> references; an unchanged file that is in the store already is not decoded again."""

    def __init__(self, store: ImageStore, journal: Journal) -> None:
        """`journal` remembers which file became which picture."""
        self._store = store
        self._journal = journal

    def put(self, name: str, *, folder: Path) -> ImageRef:
        """Take a picture file, its name as a row gives it: absolute, or relative to `folder`. Raises NoPicture."""
        try:
            path = folder / name
            if not path.is_file():
                raise NoPicture(f"there is no file {path}")
            stat = path.stat()
            if stat.st_size > MAX_BYTES:
                raise NoPicture(f"{path} has {stat.st_size} bytes; more than {MAX_BYTES} are not read")
            key = digest("file", str(path.resolve()), stat.st_size, stat.st_mtime_ns)
            known = self._journal.get(key)
            if known is not None and self._store.path(ref := _REF.validate_json(known)).is_file():
                return ref
            ref = self._store.put(decode(path.read_bytes(), side_px=MAX_SIDE_PX, max_pixels=MAX_PIXELS))
        except NotAPicture as error:
            raise NoPicture(f"{folder / name} is not a picture that can be read: {error}") from error
        except (OSError, ValueError) as error:
            raise NoPicture(f"{name[:200]!r} cannot be opened: {error}") from error
        self._journal.put(key, _REF.dump_json(ref))
        return ref
