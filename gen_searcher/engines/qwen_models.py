"""The two families of policies that can be trained: one class of transformers each, told apart by `config.json`."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision

ensure_torchvision()
from transformers import (  # noqa: E402 - after the repair of its dependency
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling  # noqa: E402 - as above
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (  # noqa: E402 - as above
    Qwen2_5_VisionTransformerPretrainedModel,
)
from transformers.models.qwen3_vl.modeling_qwen3_vl import (  # noqa: E402 - as above
    BaseModelOutputWithDeepstackFeatures,
    Qwen3VLVisionModel,
)
from transformers.utils.logging import disable_progress_bar  # noqa: E402 - as above

disable_progress_bar()

__all__ = [
    "MODELS",
    "BaseModelOutputWithPooling",
    "Qwen3VLForConditionalGeneration",
    "QwenModel",
    "QwenTower",
    "deepstack",
]

QwenModel = Qwen3VLForConditionalGeneration | Qwen2_5_VLForConditionalGeneration
QwenTower = Qwen3VLVisionModel | Qwen2_5_VisionTransformerPretrainedModel

MODELS: dict[str, type[Qwen3VLForConditionalGeneration] | type[Qwen2_5_VLForConditionalGeneration]] = {
    "Qwen3VLForConditionalGeneration": Qwen3VLForConditionalGeneration,
    "Qwen2_5_VLForConditionalGeneration": Qwen2_5_VLForConditionalGeneration,
}
"""By the name in `config.json`; `policy_files.ARCHITECTURES` are their names."""


def deepstack(found: BaseModelOutputWithPooling) -> Sequence[Tensor] | Sequence[Sequence[Tensor]]:
    """What a tower adds to the first layers of the language model; Qwen2.5-VL adds nothing."""
    if isinstance(found, BaseModelOutputWithDeepstackFeatures):
        return found.deepstack_features or ()
    return ()
