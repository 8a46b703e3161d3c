"""The names that `qwen_edit` takes from diffusers and transformers, imported in the one order that works."""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportPrivateImportUsage=false
# Reason: diffusers ships partial annotations.

from __future__ import annotations

from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision

ensure_torchvision()

from diffusers.pipelines.qwenimage import (  # noqa: E402 - the import above has to run first
    pipeline_qwenimage_edit_plus as edit_plus,
)
from transformers import AutoTokenizer, BatchFeature, PreTrainedTokenizerFast  # noqa: E402
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil  # noqa: E402

__all__ = ["AutoTokenizer", "BatchFeature", "PreTrainedTokenizerFast", "Qwen2VLImageProcessorPil", "edit_plus"]
