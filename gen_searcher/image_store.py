"""Pictures by content: Image -> ImageRef -> Image, in one folder that all actors of a run share."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from pathlib import Path

from PIL import Image

from gen_searcher.types import ImageRef

MAX_SIDE_PX = 4096
"""No picture of ours is larger; a larger file in the store was not written by us."""
_DIGEST = re.compile("[0-9a-f]{64}")


class ImageStore:
    """A folder of lossless PNG files named by the digest of their pixels.

    Writing the same picture twice is free, two processes may write at once, and a reader never sees half a file.
    """

    def __init__(self, root: Path) -> None:
        """`root` is made when the first picture is put."""
        self.root = root

    def path(self, ref: ImageRef) -> Path:
        """Where the picture lies. Raises ValueError for a digest that is none: a stranger's record may hold anything."""
        if _DIGEST.fullmatch(ref.sha256) is None:
            raise ValueError(f"{ref.sha256[:80]!r} is no digest of a picture")
        return self.root / ref.sha256[:2] / f"{ref.sha256}.png"

    def put(self, image: Image.Image) -> ImageRef:
        """Store the picture as RGB and return its reference."""
        rgb = image.convert("RGB")
        if max(rgb.size) > MAX_SIDE_PX:
            raise ValueError(f"picture of {rgb.size[0]}x{rgb.size[1]} px; the store takes at most {MAX_SIDE_PX} a side")
        ref = picture_ref(rgb)
        path = self.path(ref)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            rgb.save(buffer, format="PNG", compress_level=1)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(buffer.getvalue())
                Path(temporary).replace(path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
        return ref

    def get(self, ref: ImageRef) -> Image.Image:
        """The picture as RGB.

        Raises:
            FileNotFoundError: It was never put.
            OSError, SyntaxError, ValueError: The file is damaged, or none of ours.
        """
        try:
            with Image.open(self.path(ref), formats=["PNG"]) as image:
                if max(image.size) > MAX_SIDE_PX:
                    raise ValueError(f"{self.path(ref)} is {image.size[0]}x{image.size[1]} px; not written by us")
                return image.convert("RGB")
        except Image.DecompressionBombError as error:
            raise ValueError(f"{self.path(ref)}: {error}") from error


def picture_ref(image: Image.Image) -> ImageRef:
    """The reference of a picture by its content, stored or not."""
    rgb = image.convert("RGB")
    digest = hashlib.sha256(f"{rgb.size[0]}x{rgb.size[1]}:".encode() + rgb.tobytes()).hexdigest()
    return ImageRef(sha256=digest, width_px=rgb.size[0], height_px=rgb.size[1])
