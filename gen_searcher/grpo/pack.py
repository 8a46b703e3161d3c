"""Samples -> Batch -> the rows of each rank. Nothing is dropped, cut or drawn at random."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from gen_searcher.grpo.vision import vision_tokens as qwen_vision_tokens
from gen_searcher.types import Batch, ImageRef, Sample

Row = tuple[Sample, ...]
"""Samples that share one forward pass. The empty row is padding: it costs one token and teaches nothing."""

VisionTokens = Callable[[ImageRef], int]


def sample_tokens(sample: Sample, *, vision_tokens: VisionTokens = qwen_vision_tokens) -> int:
    """Length of the sample once each placeholder has become its picture's tokens."""
    return len(sample.token_ids) + sum(vision_tokens(image) - 1 for image in sample.images)


def pack(
    samples: Sequence[Sample], *, row_tokens: int, masked: int = 0, vision_tokens: VisionTokens = qwen_vision_tokens
) -> Batch:
    """First-fit decreasing: the longest sample first, each into the first row that still has room.

    Args:
        samples: Every sample of the step.
        row_tokens: Most expanded tokens of a row.
        masked: Further sequences, without gradient and not in any row, that count where sequences are averaged.
        vision_tokens: Tokens of a picture.
    """
    lengths = [sample_tokens(sample, vision_tokens=vision_tokens) for sample in samples]
    for index, (sample, length) in enumerate(zip(samples, lengths, strict=True)):
        if length > row_tokens:
            raise ValueError(
                f"sample {index} ({len(sample.token_ids)} tokens, {len(sample.images)} pictures) takes {length} "
                f"tokens and a row holds {row_tokens}: raise row_tokens or lower the context budget"
            )
    rows: list[list[Sample]] = []
    room: list[int] = []
    for index in _longest_first(lengths):
        place = next((row for row, left in enumerate(room) if left >= lengths[index]), len(rows))
        if place == len(rows):
            rows.append([])
            room.append(row_tokens)
        rows[place].append(samples[index])
        room[place] -= lengths[index]
    return Batch(
        rows=tuple(tuple(row) for row in rows),
        trained_tokens=sum(sample.trained_tokens for sample in samples),
        samples=len(samples) + masked,
    )


def split_rows(batch: Batch, ranks: int, *, vision_tokens: VisionTokens = qwen_vision_tokens) -> list[tuple[Row, ...]]:
    """Rows of each rank: equally many for all (collectives must meet), about equally many tokens.

    The fullest rows are halved until the ranks divide their number, so that no rank idles while there are samples to
    share; padding rows are the last resort. Then they are dealt.
    """
    rows = list(batch.rows)
    lengths = [_row_tokens(row, vision_tokens) for row in rows]
    while len(rows) % ranks and any(len(row) > 1 for row in rows):
        fullest = max((index for index in range(len(rows)) if len(rows[index]) > 1), key=lambda index: lengths[index])
        halves = _halves(rows[fullest], vision_tokens)
        rows[fullest : fullest + 1] = halves
        lengths[fullest : fullest + 1] = [_row_tokens(half, vision_tokens) for half in halves]
    places = _places(len(rows), ranks)
    dealt = deal(lengths, ranks)
    return [(*(rows[index] for index in own), *((),) * (places - len(own))) for own in dealt]


def deal(lengths: Sequence[float], ranks: int) -> list[list[int]]:
    """Indices for each rank: the longest goes to the rank with the least to do that still has a place."""
    places = _places(len(lengths), ranks)
    dealt: list[list[int]] = [[] for _ in range(ranks)]
    open_ranks = [(0.0, rank) for rank in range(ranks)]
    for index in _longest_first(lengths):
        load, rank = heapq.heappop(open_ranks)
        dealt[rank].append(index)
        if len(dealt[rank]) < places:
            heapq.heappush(open_ranks, (load + lengths[index], rank))
    return dealt


def _places(rows: int, ranks: int) -> int:
    return -(-rows // ranks)


def _row_tokens(row: Row, vision_tokens: VisionTokens) -> int:
    return sum(sample_tokens(sample, vision_tokens=vision_tokens) for sample in row)


def _halves(row: Row, vision_tokens: VisionTokens) -> list[Row]:
    """Two rows of about equal length; a row is sorted, longest first."""
    halves: tuple[list[Sample], list[Sample]] = ([], [])
    for sample in row:
        min(halves, key=lambda half: _row_tokens(tuple(half), vision_tokens)).append(sample)
    return [tuple(half) for half in halves]


def _longest_first(lengths: Sequence[float]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda index: -lengths[index])  # sorting is stable: ties keep their order
