"""Who answers in a replay: local judges and image models themselves, everybody else through the cassette. Nobody outside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

from PIL.Image import Image

from gen_searcher.cassette.seams import TapedImageModel, TapedJudge
from gen_searcher.cassette.tape import Identity, Tape
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.capability import is_local, plug_capability
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.replay import ReplayConfig
from gen_searcher.config.root import RunConfig
from gen_searcher.engines.generator import shown_references
from gen_searcher.errors import UserError
from gen_searcher.image_store import ImageStore, picture_ref
from gen_searcher.protocols import ImageModel, Judge
from gen_searcher.tools.meter import Meter
from gen_searcher.train.replay import Redraw
from gen_searcher.train.run import RunFolder
from gen_searcher.types import Grounding, ImageRef, Judgement, Task, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The cassettes of a replay."""

    cassette: Path
    """The run's."""
    asks_local: bool
    """Whether who is local is asked again."""
    record: Tape | None
    """Where the answers of the step go that is to be packed."""
    closing: ExitStack

    @classmethod
    def of(cls, place: Workplace, settings: ReplayConfig, *, record: RunFolder | None, closing: ExitStack) -> Outside:
        """Tapes are closed with `closing`."""
        kept = place.cfg.cassette
        tape = None
        if record is not None:
            tape = Tape(CassetteConfig(mode="record"), folder=record.cassette, meter=Meter())
            closing.callback(tape.close)
        return cls(
            cassette=place.folder.cassette if settings.bundle is not None or kept.path is None else kept.path,
            asks_local=settings.asks_judges,
            record=tape,
            closing=closing,
        )

    def tape(self, who: str) -> Tape:
        """The run's cassette, for somebody who must not be asked. Raises UserError when there is none."""
        if not (self.cassette / "index.sqlite").is_file():
            raise UserError(
                f"{who}: a replay takes its answers from the cassette, and {self.cassette} holds none; a run with "
                "cassette.mode=auto or record writes one"
            )
        tape = Tape(CassetteConfig(mode="replay"), folder=self.cassette, meter=Meter())
        self.closing.callback(tape.close)
        return tape


def judges_of(cfg: RunConfig, store: ImageStore, outside: Outside) -> list[Judge]:
    """The judges whose scores are the reward."""
    return [_judge(name, plug, store, outside) for name, plug in cfg.judges.items()]


def _judge(name: str, plug: Plug, store: ImageStore, outside: Outside) -> Judge:
    if outside.asks_local and is_local(plug):
        judge = cast("Judge", plug.build(store=store))
    else:
        judge = TapedJudge(_Unasked(name), outside.tape(f"judges.{name}"), Identity.of(plug))
    return judge if outside.record is None else TapedJudge(judge, outside.record, Identity.of(plug))


def redraw_of(cfg: RunConfig, store: ImageStore, outside: Outside) -> Redraw:
    """Draws a grounding as the run's image model did."""
    plug, capability = cfg.generator, plug_capability(cfg.generator)
    model = (
        cast("ImageModel", plug.build())
        if is_local(plug)
        else TapedImageModel(_Unasked("generator"), outside.tape("generator"), Identity.of(plug))
    )

    async def redraw(grounding: Grounding, seed: int) -> ImageRef:
        references = [store.get(reference) for reference in shown_references(grounding, capability)]
        return picture_ref(await model.draw(grounding.gen_prompt, references, seed=seed))

    return redraw


class _Unasked:
    """Stands behind a cassette that only replays."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Never called."""
        self._refuse()

    async def draw(self, prompt: str, references: Sequence[Image], *, seed: int) -> Image:
        """Never called."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise AssertionError(f"{self.name} was asked in a replay")
