"""Stage 6: each row falls to one split by a hash of its id, so that rows which come later move none."""

from __future__ import annotations

import hashlib

from pydantic import TypeAdapter

from gen_searcher.config.data import SplitConfig
from gen_searcher.data.rows import Placed, SplitName, StageName, Verified
from gen_searcher.data.stage import DataFolder, Inputs, StageReport, write_stage

PLACED = TypeAdapter(Placed)


def split(inputs: Inputs[Verified], cfg: SplitConfig, *, folder: DataFolder) -> StageReport:
    """Write every row with its split."""
    rows = [
        PLACED.dump_json(
            Placed(
                proposal=row.value.proposal,
                work=row.value.work,
                picture=row.value.picture,
                verdict=row.value.verdict,
                split=split_of(row.value.proposal.id, cfg),
            )
        )
        for row in inputs.rows
    ]
    taken = len(inputs.rows) + len(inputs.rejects)
    return write_stage(folder, StageName.SPLIT, rows, inputs.rejects, taken=taken)


def split_of(row_id: str, cfg: SplitConfig) -> SplitName:
    """Where a row belongs."""
    share = int.from_bytes(hashlib.sha256(f"{cfg.seed}:{row_id}".encode()).digest()[:6]) / (1 << 48)
    if share < cfg.sft:
        return "sft"
    return "rl" if share < cfg.sft + cfg.rl else "heldout"
