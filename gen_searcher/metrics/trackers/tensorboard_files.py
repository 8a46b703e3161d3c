"""TensorBoard: an event file in the run directory. Needs the package `tensorboard`."""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (an optional package)

from __future__ import annotations

from collections.abc import Mapping

from tensorboard.summary import Writer

from gen_searcher.metrics.trackers.run_info import RunInfo


class TensorboardTracker:
    """Scalars, to be read with `tensorboard --logdir <run_dir>`."""

    def __init__(self, *, run: RunInfo) -> None:
        """A resumed run writes a further file into the same folder, which TensorBoard shows as one curve."""
        self._writer = Writer(str(run.folder / "tensorboard" / run.id))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write and flush."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
