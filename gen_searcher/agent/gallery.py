"""The pictures a trajectory has seen, under the ids by which the policy cites them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gen_searcher.types import FoundImage


@dataclass(frozen=True, slots=True)
class Gallery:
    """`IMG_001`, `IMG_002`, ... in order of first sight; a picture met again keeps its id."""

    images: tuple[FoundImage, ...] = ()

    def admit(self, found: Sequence[FoundImage]) -> Gallery:
        """A gallery that knows `found` as well."""
        images = list(self.images)
        for image in found:
            if not any(_is_same(image, known) for known in images):
                images.append(replace(image, img_id=f"IMG_{len(images) + 1:03d}"))
        return Gallery(tuple(images))

    def named(self, found: Sequence[FoundImage]) -> tuple[FoundImage, ...]:
        """`found`, all of it admitted before, under the ids it has here, each picture once."""
        known = [next(image for image in self.images if _is_same(one, image)) for one in found]
        return tuple({image.img_id: image for image in known}.values())

    def get(self, img_id: str) -> FoundImage | None:
        """The picture that the policy knows by this id."""
        return next((image for image in self.images if image.img_id == img_id), None)


def _is_same(one: FoundImage, other: FoundImage) -> bool:
    return one.url == other.url or one.image == other.image
