"""On a CPU, prompts that one engine step cannot hold: what is drawn for a part of one costs its generator nothing.

vLLM draws a token for such a row too, drops it, and winds the request's generator back by an offset. Generators of CPUs have no
offset ("CPU Generator does not use offset"), and the engine would die of it. So these generators are kept out of the step, and
the dropped token is drawn from the common one. It is no rare case: new weights make every request in flight read its context
again, all at once.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false, reportArgumentType=false
# (vLLM's model runner has no seam here)

from __future__ import annotations

import numpy as np


def spare_generators() -> None:
    """Patch the model runner of CPUs; does nothing on other devices."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    draw, book = CPUModelRunner._sample, CPUModelRunner._bookkeeping_sync

    def sample(runner: CPUModelRunner, *args: object, **kwargs: object) -> object:
        batch = runner.input_batch
        partial = np.nonzero(runner.discard_request_mask.np[: batch.num_reqs])[0].tolist()
        runner._spared = {row: batch.generators.pop(row) for row in partial if row in batch.generators}
        return draw(runner, *args, **kwargs)

    def bookkeeping_sync(runner: CPUModelRunner, *args: object, **kwargs: object) -> object:
        booked = book(runner, *args, **kwargs)
        runner.input_batch.generators.update(runner._spared)
        return booked

    CPUModelRunner._sample = sample
    CPUModelRunner._bookkeeping_sync = bookkeeping_sync
