from __future__ import annotations

from gen_searcher.agent.gallery import Gallery
from gen_searcher.types import FoundImage, ImageRef


def picture(url: str, digest: str) -> FoundImage:
    ref = ImageRef(sha256=digest, width_px=64, height_px=64)
    return FoundImage(img_id=digest, title=url, url=url, page_url="", image=ref, view=ref)


def test_ids_count_up_in_order_of_first_sight() -> None:
    gallery = Gallery().admit([picture("u1", "a"), picture("u2", "b")]).admit([picture("u3", "c")])
    assert [image.img_id for image in gallery.images] == ["IMG_001", "IMG_002", "IMG_003"]
    assert gallery.get("IMG_003") == gallery.images[2]
    assert gallery.get("IMG_004") is None


def test_the_same_address_or_the_same_pixels_keep_their_id() -> None:
    again = [picture("u2", "a"), picture("u1", "b"), picture("u9", "z")]
    gallery = Gallery().admit([picture("u1", "a")]).admit(again)
    assert [image.img_id for image in gallery.images] == ["IMG_001", "IMG_002"]
    assert [image.img_id for image in gallery.named(again)] == ["IMG_001", "IMG_002"]
    assert [image.url for image in gallery.named(again)] == ["u1", "u9"]
