"""Keeps pictures recomputable: a request that is frozen for new weights must still find its pixels in the worker.

vLLM sends no pixels for pictures that the prefix cache covers. When weights change, the cache is dropped while
requests are in flight, the vision tower has to run again, and the engine dies for want of the pixels. So they are
always sent; inside one process that costs nothing.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateImportUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.multimodal.inputs import MultiModalFeatureSpec


def always_ship_pixels() -> None:
    """Replace vLLM's stripping of covered pictures. The import fails loudly when a later vLLM has dropped it."""
    import vllm.v1.core.sched.output as messages
    from vllm.multimodal.utils import strip_covered_mm_data

    if messages.strip_covered_mm_data is strip_covered_mm_data:  # pyright: ignore[reportAttributeAccessIssue]
        messages.strip_covered_mm_data = _keep_everything  # pyright: ignore[reportAttributeAccessIssue]


def _keep_everything(
    mm_features: list[MultiModalFeatureSpec],
    num_computed_tokens: int,
    uses_mrope: bool = False,
) -> list[MultiModalFeatureSpec]:
    del num_computed_tokens, uses_mrope
    return mm_features
