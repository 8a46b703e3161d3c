"""Samples -> Batch -> the rows of each rank. Nothing is dropped, cut or drawn at random."""

from __future__ import annotations

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
    samples: Sequence[Sample],
    *,
    row_tokens: int,
    vision_tokens: VisionTokens = qwen_vision_tokens,
    rows_multiple: int = 1,
) -> Batch:
    """First-fit decreasing: the longest sample first, each into the first row that still has room.

    Args:
        samples: Every sample of the step.
        row_tokens: Most expanded tokens of a row.
        vision_tokens: Tokens of a picture.
        rows_multiple: Number of ranks. The fullest rows are halved until it divides the number of rows, so that
            no rank idles while there are samples to share; padding rows are the last resort.
    """
    lengths = [sample_tokens(sample, vision_tokens=vision_tokens) for sample in samples]
    for index, (sample, length) in enumerate(zip(samples, lengths, strict=True)):
        if length > row_tokens:
            raise ValueError(
                f"sample {index} ({len(sample.token_ids)} tokens, {len(sample.images)} pictures) takes {length} "
                f"tokens and a row holds {row_tokens}: raise row_tokens or lower the context budget"
            )
    rows: list[list[int]] = []
    room: list[int] = []
    for index in _longest_first(lengths):
        place = next((row for row, left in enumerate(room) if left >= lengths[index]), len(rows))
        if place == len(rows):
            rows.append([])
            room.append(row_tokens)
        rows[place].append(index)
        room[place] -= lengths[index]
    rows = _halve(rows, lengths, rows_multiple)
    padding = -len(rows) % rows_multiple
    return Batch(
        rows=(*(tuple(samples[index] for index in row) for row in rows), *((),) * padding),
        trained_tokens=sum(sample.trained_tokens for sample in samples),
        samples=len(samples),
    )


def split_rows(batch: Batch, ranks: int, *, vision_tokens: VisionTokens = qwen_vision_tokens) -> list[tuple[Row, ...]]:
    """Rows of each rank: equally many for all (collectives must meet), about equally many tokens.

    The longest row goes to the rank with the fewest tokens that still has a place; short ranks get empty rows.
    """
    lengths = [sum(sample_tokens(s, vision_tokens=vision_tokens) for s in row) for row in batch.rows]
    places = -(-len(batch.rows) // ranks)
    taken: list[list[int]] = [[] for _ in range(ranks)]
    load = [0] * ranks
    for index in _longest_first(lengths):
        rank = min((rank for rank in range(ranks) if len(taken[rank]) < places), key=lambda rank: load[rank])
        taken[rank].append(index)
        load[rank] += lengths[index]
    return [(*(batch.rows[index] for index in own), *((),) * (places - len(own))) for own in taken]


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda index: -lengths[index])  # sorting is stable: ties keep their order


def _halve(rows: list[list[int]], lengths: Sequence[int], multiple: int) -> list[list[int]]:
    while len(rows) % multiple:
        divisible = [row for row in range(len(rows)) if len(rows[row]) > 1]
        if not divisible:
            break
        fullest = max(divisible, key=lambda row: sum(lengths[index] for index in rows[row]))
        halves: tuple[list[int], list[int]] = ([], [])
        for index in rows[fullest]:
            min(halves, key=lambda half: sum(lengths[i] for i in half)).append(index)
        rows = [*rows[:fullest], halves[0], halves[1], *rows[fullest + 1 :]]
    return rows
