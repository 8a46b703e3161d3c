"""Makes torchvision importable beside a CPU-only torch: missing operator schemas -> declared schemas -> import.

The wheel of torchvision on the package index is linked against CUDA. Beside a CPU torch its native library cannot
load, so the schemas of two operators are missing when the package registers their fake kernels, and the import
fails. What Qwen3-VL needs (`torchvision.transforms.v2`) is pure Python, so declaring the two schemas is enough.
Operators such as `torchvision.ops.nms` stay without a kernel. Beside a matching torchvision nothing is declared.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import importlib
import importlib.util
import sys

import torch

_BOX_FILTERS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []
"""Keeps the library alive: its schemas vanish with it."""


def ensure_torchvision() -> bool:
    """Import torchvision, declaring operator schemas when they are missing. False when it is not installed."""
    if "torchvision" in sys.modules:
        return True
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _declared or "torchvision::" not in str(error):
            raise
        _forget_half_imported()
        library = torch.library.Library("torchvision", "DEF")
        for name in _BOX_FILTERS:
            library.define(name + _SCHEMA)
        _declared.append(library)
        importlib.import_module("torchvision")
    return True


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


def platform_hook() -> None:
    """Entry point of `vllm.platform_plugins`: runs before vLLM imports transformers; offers no platform of its own."""
    ensure_torchvision()
