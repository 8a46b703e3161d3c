"""Pictures from the store as the wire wants them; ground truths, which many attempts share, are kept for a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from gen_searcher.errors import JudgeError
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.chat import question
from gen_searcher.types import ImageRef

_KEPT = 64
"""Ground truths in memory: the groups of a few steps."""


class Pictures:
    """Reads and encodes in a thread, so that judges of other attempts go on."""

    def __init__(self, store: ImageStore, *, max_side_px: int) -> None:
        """`max_side_px` bounds the longer side of what is sent."""
        self._store = store
        self._max_side_px = max_side_px
        self._kept: OrderedDict[str, question.Picture] = OrderedDict()

    async def get(self, ref: ImageRef) -> question.Picture:
        """One picture. Raises JudgeError when the store does not hold it."""
        return await asyncio.to_thread(self._encode, ref)

    async def get_kept(self, ref: ImageRef) -> question.Picture:
        """The same, remembered."""
        if ref.sha256 not in self._kept:
            self._kept[ref.sha256] = await self.get(ref)
        self._kept.move_to_end(ref.sha256)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[ref.sha256]

    def _encode(self, ref: ImageRef) -> question.Picture:
        try:
            return question.picture(self._store.get(ref), max_side_px=self._max_side_px)
        except OSError as error:
            raise JudgeError(f"picture {ref.sha256[:12]} cannot be read from the store: {error}") from error
