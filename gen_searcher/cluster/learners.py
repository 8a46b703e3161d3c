"""Learner ranks as one `Learner`: a step runs on all ranks, publishing goes through the weight board."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.weights import WeightBoard
from gen_searcher.engines.policy_files import description_files
from gen_searcher.errors import ActorGone, LearnerGone
from gen_searcher.grpo.pack import split_rows
from gen_searcher.types import Batch, Sample, StepReport

GO_ON = "Its state is in the last checkpoint; run the same command again to continue from there"

BEGIN_AGAIN = "It had not begun, and nothing is lost; run the same command again"


class LearnerRanks:
    """One actor per rank. A rank that dies ends the run: its state cannot be rebuilt but from a checkpoint.

    Every method raises LearnerGone when a rank is dead or does not answer in time; nothing is ever asked of a part of
    the ranks, whose answer would be half a checkpoint.
    """

    def __init__(
        self, pool: Pool, *, board: WeightBoard, rollouts: Pool | None, timeout_s: float | None = None
    ) -> None:
        """`rollouts` is None when nothing samples while learning (SFT); `timeout_s` is for one call, None waits."""
        self._pool = pool
        self._board = board
        self._rollouts = rollouts
        self._timeout_s = timeout_s

    async def join(self, *, device: str) -> None:
        """Let the ranks find each other and load the policy onto `cpu` or `cuda`. Before everything else, once."""
        world = len(self._pool.handles)
        (meeting,) = await self._asked("meeting", [(world,)], then=BEGIN_AGAIN)
        await self._asked("setup", [(rank, world, meeting, device) for rank in range(world)], then=BEGIN_AGAIN)

    async def step(self, batch: Batch) -> StepReport:
        """One optimizer step over all ranks; the report is rank 0's, whose numbers are already reduced."""
        started = time.monotonic()
        shares = split_rows(batch, len(self._pool.handles))
        reports = await self._on_ranks("step", [(rows, batch.trained_tokens, batch.samples) for rows in shares])
        report = cast("StepReport", reports[0])
        metrics: Mapping[str, float] = {**report.metrics, "learner/step_s": time.monotonic() - started}
        return replace(report, metrics=metrics)

    async def logprobs(self, batch: Batch) -> dict[Sample, tuple[float, ...]]:
        """Score the trained tokens of every sample on all ranks; nothing is learned."""
        shares = split_rows(batch, len(self._pool.handles))
        answers = await self._on_ranks("logprobs", [(rows,) for rows in shares])
        samples = [sample for rows in shares for row in rows for sample in row]
        scored = [scores for answer in answers for scores in cast("list[tuple[float, ...]]", answer)]
        return dict(zip(samples, scored, strict=True))

    async def publish(self, version: int) -> None:
        """Export, announce, then load into every rollout worker; one that dies or joins meanwhile does before it serves."""
        await self._on_all("export", str(self._board.path(version)))
        self._board.announce(version)
        if self._rollouts is not None:
            await self._rollouts.ready_again()
        self._board.drop_older(version)

    async def save(self, path: Path) -> None:
        """Write a checkpoint; all ranks take part."""
        await self._on_all("save", str(path))

    async def save_policy(self, path: Path, *, base: Path) -> None:
        """Write the policy alone, as a Hugging Face folder: new weights beside the small files of `base`."""
        await self._on_all("export", str(path / "model.safetensors"))
        await asyncio.to_thread(_copy_policy_files, base, path)

    async def nodes(self) -> frozenset[str]:
        """Where the ranks run."""
        return frozenset((await self._pool.nodes()).values())

    async def load(self, path: Path) -> None:
        """Continue from a checkpoint, bit for bit."""
        await self._on_all("load", str(path))

    async def _on_all(self, method: str, *args: object) -> None:
        await self._on_ranks(method, [args] * len(self._pool.handles))

    async def _on_ranks(self, method: str, each: Sequence[tuple[object, ...]]) -> list[object]:
        """Call `method` on every rank, with the arguments of `each`."""
        return await self._asked(method, each, then=GO_ON)

    async def _asked(self, method: str, each: Sequence[tuple[object, ...]], *, then: str) -> list[object]:
        """Call `method` on the first ranks, as many as `each` has arguments for. `then` is what somebody is told to do."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.gather(
                    *(self._pool.call_on(rank, method, *args) for rank, args in enumerate(each))
                )
        except ActorGone as error:
            raise LearnerGone(f"{method}: {error.message}. {then}") from error
        except TimeoutError as error:
            raise LearnerGone(f"{method}: no answer from the learner within {self._timeout_s:g} s. {then}") from error


def _copy_policy_files(base: Path, path: Path) -> None:
    for file in description_files(base):
        shutil.copyfile(file, path / file.name)
