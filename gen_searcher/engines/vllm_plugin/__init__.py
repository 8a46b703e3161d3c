"""What every vLLM process of ours runs first: watch of the parent -> torchvision shim -> patches -> weight transfer backend."""

from __future__ import annotations

from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision
from gen_searcher.engines.vllm_plugin.parent import end_with_parent

_done: set[str] = set()


def register() -> None:
    """Entry point of `vllm.general_plugins`. vLLM may call it several times in one process."""
    if "register" in _done:
        return
    end_with_parent()
    ensure_torchvision()
    from gen_searcher.engines.vllm_plugin import partial_prompts, pixels, weight_file

    pixels.always_ship_pixels()
    partial_prompts.spare_generators()
    weight_file.register_backend()
    _done.add("register")
