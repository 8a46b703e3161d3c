"""Stage 5: rows that are new and that no benchmark holds.

A row is held against the held-out tasks first, then against every row that was kept before it. The looks of pictures are
kept in the stage's journal, since decoding is what takes long; the decisions are made anew each time.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from pydantic import Base64Bytes, BaseModel, ConfigDict, TypeAdapter

from gen_searcher.bench.journal import Journal, digest
from gen_searcher.config.data import DedupeConfig
from gen_searcher.data.nearness import Guarded, Look, Pictures, Requests, View, look_of
from gen_searcher.data.rows import Reject, StageName, Verified
from gen_searcher.data.stage import DataFolder, Inputs, StageReport, keep_report, write_stage
from gen_searcher.data.verify import VERIFIED
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Task

VERSION = "look-2"
"""Raised when `look_of` changes."""


class _Kept(BaseModel):
    """A view."""

    model_config = ConfigDict(frozen=True)

    bits: int
    colours: Base64Bytes


_LOOK = TypeAdapter(tuple[_Kept, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """Tasks that nobody may train on."""

    tasks: Sequence[Task]
    name: str
    """The file they come from."""


class Looks:
    """Picture to look, each picture decoded once in the life of a run directory."""

    def __init__(self, store: ImageStore, journal: Journal) -> None:
        """`journal` remembers."""
        self._store = store
        self._journal = journal

    def of(self, image: ImageRef) -> Look:
        """The look of a picture in the store."""
        key = digest(VERSION, image.sha256)
        known = self._journal.get(key)
        if known is not None:
            return tuple(View(bits=kept.bits, colours=kept.colours) for kept in _LOOK.validate_json(known))
        look = look_of(self._store.get(image))
        kept = tuple(_Kept(bits=view.bits, colours=base64.b64encode(view.colours)) for view in look)
        self._journal.put(key, _LOOK.dump_json(kept))
        return look


async def dedupe(
    inputs: Inputs[Verified],
    heldout: Sequence[Heldout],
    cfg: DedupeConfig,
    *,
    folder: DataFolder,
    store: ImageStore,
) -> StageReport:
    """Write the rows that are new to `unique.jsonl`, the others with what they repeat to the rejects."""
    with closing(Journal(folder.journal(StageName.DEDUPE))) as journal:
        sieve = Sieve(cfg, Looks(store, journal))
        rows: list[bytes] = []
        rejects = list(inputs.rejects)
        await asyncio.to_thread(sieve.forbid, heldout)
        for row in inputs.rows:
            no = await asyncio.to_thread(sieve.admit, row.value)
            if no is None:
                rows.append(VERIFIED.dump_json(row.value))
            else:
                rejects.append(replace(no, file=row.file, line=row.line))
    taken = len(inputs.rows) + len(inputs.rejects)
    return keep_report(folder, write_stage(folder, StageName.DEDUPE, rows, rejects, taken=taken))


class Sieve:
    """Lets each thing through once."""

    def __init__(self, cfg: DedupeConfig, looks: Looks) -> None:
        """Nothing has come through yet."""
        self._cfg = cfg
        self._looks = looks
        self._requests, self._pictures = Requests(), Pictures()
        self._held_requests, self._held_pictures = Requests(), Pictures()
        self._guarded = Guarded()

    def forbid(self, heldout: Sequence[Heldout]) -> None:
        """Nothing that comes near these tasks may pass."""
        for each in heldout:
            for task in each.tasks:
                name = f"{task.id} of {each.name}"
                self._held_requests.add(name, task.prompt)
                self._guarded.add(name, task.prompt)
                if task.target is not None and self._compares_heldout_pictures:
                    self._held_pictures.add(name, self._looks.of(task.target))

    def admit(self, row: Verified) -> Reject | None:
        """Why a row may not pass; None for one that has passed now."""
        no = Reject(stage=StageName.DEDUPE, id=row.proposal.id, reason="", details="")
        least, bits = self._cfg.prompt_similarity, self._cfg.picture_bits
        held = None if self._cfg.heldout_share is None else self._guarded.held(row.proposal.prompt)
        if held is not None and held.similarity >= (self._cfg.heldout_share or 0.0):
            return replace(no, reason="leak_prompt", details=f"holds {held.similarity:.2f} of that of {held.name}")
        for requests, reason in ((self._held_requests, "leak_prompt"), (self._requests, "duplicate_prompt")):
            near = requests.nearest(row.proposal.prompt)
            if near is not None and near.similarity >= least:
                return replace(no, reason=reason, details=f"{near.similarity:.2f} like that of {near.name}")
        if bits is not None:
            look = self._looks.of(row.picture.image)
            for pictures, reason in ((self._held_pictures, "leak_picture"), (self._pictures, "duplicate_picture")):
                name = pictures.near(look, bits=bits)
                if name is not None:
                    return replace(no, reason=reason, details=f"looks like that of {name}")
            self._pictures.add(row.proposal.id, look)
        self._requests.add(row.proposal.id, row.proposal.prompt)
        return None

    @property
    def _compares_heldout_pictures(self) -> bool:
        return self._cfg.heldout_pictures and self._cfg.picture_bits is not None
