"""The weight transfer backend `file`: a safetensors file -> every worker's model, within vLLM's update lifecycle.

The learner writes one file that all workers of the run can read and sends its path. That needs no process group,
so a learner or a worker may die and come back between two updates.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeArgument=false, reportUnknownParameterType=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from gen_searcher.engines.weight_files import reading

BACKEND = "file"


@dataclass
class FileInitInfo(WeightTransferInitInfo):
    """Nothing to agree on beforehand."""


@dataclass
class FileUpdateInfo(WeightTransferUpdateInfo):
    """Where the new weights lie."""

    path: str
    """A safetensors file under Hugging Face's names."""


class FileWeightTransfer(WeightTransferEngine[FileInitInfo, FileUpdateInfo]):
    """Loads a whole checkpoint between `start_weight_update` and `finish_weight_update`."""

    init_info_cls = FileInitInfo
    update_info_cls = FileUpdateInfo

    def init_transfer_engine(self, init_info: FileInitInfo) -> None:
        """Nothing to set up."""

    def start_weight_update(self) -> None:
        """Make the layers, which vLLM has packed for speed, loadable again."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, object]) -> None:
        """Load the file. Unlike the base class this also works where torch has no accelerator to wait for."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: FileUpdateInfo) -> None:
        """Map the file and hand each tensor to the model's own loader."""
        with reading(Path(update_info.path)):
            self.model.load_weights(load_file(update_info.path).items())  # pyright: ignore[reportCallIssue]

    def finish_weight_update(self) -> None:
        """Pack the layers again."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        _repack_output_head(self.model)

    def shutdown(self) -> None:
        """Nothing is held between updates."""


def _repack_output_head(model: torch.nn.Module) -> None:
    """Pack the output head on CPU: a tied head receives no weights of its own and would keep its old packed copy."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        for module in model.modules():
            if isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)


def register_backend() -> None:
    """Make `weight_transfer_config={"backend": "file"}` known. Call once per process."""
    WeightTransferEngineFactory.register_engine(BACKEND, FileWeightTransfer)
