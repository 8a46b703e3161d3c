"""`gen-searcher generate "..."`: one request in, one picture out, with everything that led to it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL.PngImagePlugin import PngInfo
from pydantic import JsonValue, TypeAdapter

from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.head import while_head_lives
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew
from gen_searcher.commands.licences import licence_of
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError, GeneratorRefused, UserError, WorldError
from gen_searcher.metrics.report.lines import TurnText
from gen_searcher.metrics.traces.attempts import AttemptTrace
from gen_searcher.train.attempt import member_seed
from gen_searcher.train.run import TurnReader
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.traced import searched
from gen_searcher.types import Grounding, ImageRef, Task, Trajectory

log = logging.getLogger(__name__)

EXIT_NO_PICTURE = 1
"""The agent ended without a grounding, so there is nothing to draw."""

_GROUNDING = TypeAdapter(Grounding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What came of a request."""

    trajectory: Trajectory
    texts: Sequence[TurnText]
    image: ImageRef | None
    error: UserError | None = None
    """Why there is a grounding and no picture."""


def run(cfg: RunConfig) -> int:
    """Search, ground, draw; the files are in `run_dir/generate/<id>/`."""
    if not cfg.generate.prompt:
        raise ConfigError('which picture? Write gen-searcher generate "the flag of Poland at night" experiment=laptop')
    place = Workplace.open(cfg)
    digest = hashlib.sha256(cfg.generate.prompt.encode()).hexdigest()[:12]
    task = Task(id=digest, prompt=cfg.generate.prompt, target=None, meta={})
    with cluster_session(cfg.cluster, run_id=place.folder.root.name, command="generate"):
        drawn = asyncio.run(while_head_lives(_generate(place, task)))
    sys.stdout.write(trace(drawn) + "\n")
    folder = place.folder.root / "generate" / task.id
    if drawn.error is not None:
        raise drawn.error
    if drawn.trajectory.grounding is None or drawn.image is None:
        sys.stdout.write(f"no picture: the agent ended as {drawn.trajectory.outcome}\n")
        return EXIT_NO_PICTURE
    path = write(folder, place, task, drawn.trajectory.grounding, drawn.image)
    sys.stdout.write(f"{_licences(place.cfg, drawn.trajectory.grounding)}\npicture: {path}\n")
    return 0


async def _generate(place: Workplace, task: Task) -> Drawn:
    cfg = place.cfg
    policy = place.best_policy()
    log.info("the policy is %s", policy)
    seed = derive_seed(cfg.seed, "generate", task.id)
    async with Crew.raise_actors(place) as crew:
        rollouts = crew.rollouts(policy, cfg.agent.sampling_like(cfg.generate))
        await crew.wait_ready()
        seeds = crew.of_one_model(member_seed)
        with AttemptTrace(task.id, seed=seed) as traced, traced.one_try() as this:
            try:
                trajectory = await crew.searcher(rollouts, picture_seed=seeds).search(task, seed=seed)
            except WorldError as error:
                this.lose(error.stage, error.message)
                raise UserError(f"the search failed: {error}; try again when that is mended", exit_code=3) from error
            traced.made(searched(trajectory))
            image, failed = None, None
            if trajectory.grounding is not None:
                try:
                    image = await crew.drawings.generate(trajectory.grounding, seed=seeds(task, seed))
                except WorldError as error:
                    this.lose(error.stage, error.message)
                    failed = no_picture(error)
    texts = TurnReader(Renderer.load(policy).text)(trajectory)
    return Drawn(trajectory=trajectory, texts=texts, image=image, error=failed)


def no_picture(error: WorldError) -> UserError:
    """What the user is told: 2 for a grounding that was declined, 3 for an image model that failed."""
    if isinstance(error, GeneratorRefused):
        return UserError(f"no picture: the image model declined the grounding ({error.message}); word the request anew")
    return UserError(f"no picture: the image model failed ({error.message})", exit_code=3)


def trace(drawn: Drawn) -> str:
    """The conversation and the grounding as people read them."""
    lines: list[str] = []
    for number, text in enumerate(drawn.texts, start=1):
        lines += [f"--- turn {number}: the agent reads", text.prompt.strip(), f"--- turn {number}: the agent writes"]
        lines.append(text.completion.strip())
    grounding = drawn.trajectory.grounding
    if grounding is not None:
        lines += ["--- grounding", grounding.gen_prompt]
        lines += [
            f"  reference {number}: {reference.title} ({reference.url})"
            for number, reference in enumerate(grounding.references, start=1)
        ]
    return "\n".join(lines)


def evidence_of(cfg: RunConfig, task: Task, grounding: Grounding, image: ImageRef) -> dict[str, JsonValue]:
    """What led to the picture. Each source and each reference says under which licence it lies, or that it is unknown."""
    return {
        "request": task.prompt,
        "grounding": cast("JsonValue", _GROUNDING.dump_python(grounding, mode="json")),
        "sources": [{"url": url, "licence": licence_of(url, cfg.search)} for url in grounding.sources],
        "references": [
            {
                "title": reference.title,
                "url": reference.url,
                "page_url": reference.page_url,
                "sha256": reference.image.sha256,
                "licence": licence_of(reference.url, cfg.search),
            }
            for reference in grounding.references
        ],
        "generator": cfg.generator.target,
        "sha256": image.sha256,
    }


def _licences(cfg: RunConfig, grounding: Grounding) -> str:
    """One line per source: what may be done with the picture depends on it."""
    urls = dict.fromkeys([*grounding.sources, *(reference.url for reference in grounding.references)])
    return "\n".join(["--- licences", *(f"  {url}: {licence_of(url, cfg.search)}" for url in urls)])


def write(folder: Path, place: Workplace, task: Task, grounding: Grounding, image: ImageRef) -> Path:
    """Picture with its evidence chain: in the PNG's text and beside it as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    evidence = evidence_of(place.cfg, task, grounding, image)
    (folder / "grounding.json").write_text(json.dumps(evidence, indent=1, ensure_ascii=False), encoding="utf-8")
    info = PngInfo()
    info.add_itxt("gen_searcher", json.dumps(evidence, ensure_ascii=False))
    path = folder / "picture.png"
    place.store.get(image).save(path, pnginfo=info)
    return path
