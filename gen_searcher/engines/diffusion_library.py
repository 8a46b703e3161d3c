"""The names that the image models take from diffusers and transformers, imported in the one order that works.

A torchvision whose native library cannot load breaks `import transformers`; it has to be made importable first.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportPrivateImportUsage=false
# Reason: diffusers ships partial annotations.

from __future__ import annotations

from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision

ensure_torchvision()

from diffusers import (  # noqa: E402 - the import above has to run first
    AutoencoderKLFlux2,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from transformers import (  # noqa: E402 - as above
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

__all__ = [
    "AutoencoderKLFlux2",
    "DiffusionPipeline",
    "FlowMatchEulerDiscreteScheduler",
    "Flux2KleinPipeline",
    "Flux2Pipeline",
    "Flux2Transformer2DModel",
    "PreTrainedTokenizerFast",
    "Qwen3Config",
    "Qwen3ForCausalLM",
]
