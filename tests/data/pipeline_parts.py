"""What the pipeline's tests share: rows that are as small as rows can be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

from gen_searcher.data.rows import Drawn, Origin, Picture, Proposal, Step, Verdict, Verified, Words, Work
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Facts, Grounding, ImageRef, Judgement, ToolKind

ORIGIN = Origin(source="mine", kind="rows", place="rows.json, line 1", licence="CC0")
SEEN = "<tool_response>\nCapital of Poland: Warsaw.\n</tool_response>"


def proposal(row_id: str = "a", prompt: str = "Draw the flag of Poland.", category: str = "geography") -> Proposal:
    meta = {"category": category, "difficulty": "easy"}
    return Proposal(id=row_id, prompt=prompt, meta=meta, facts=Facts(), origin=ORIGIN)


def work(gen_prompt: str = "a flag", *, seen: str = SEEN, steps: tuple[Step, ...] = ()) -> Work:
    said = f"<think>x</think>\n<answer>{json.dumps({'gen_prompt': gen_prompt, 'reference_images': []})}</answer>"
    words = (
        Words(role="system", content="You search."),
        Words(role="user", content="Draw it."),
        Words(role="assistant", content="<think>look</think>"),
        Words(role="user", content=seen),
        Words(role="assistant", content=said),
    )
    return Work(
        messages=words,
        images=(),
        steps=steps or (Step(tool="search", kind=ToolKind.OK),),
        grounding=Grounding(gen_prompt=gen_prompt, references=(), sources=("http://geography.mini.web/poland",)),
        teacher="a script",
        cost_usd=0.25,
        latency_s=1.0,
    )


def photo(seed: int = 0, side_px: int = 64) -> Image.Image:
    """Some shapes; another seed, another picture."""
    image = Image.new("RGB", (side_px, side_px), (30 * seed % 255, 200, 255 - 40 * seed % 255))
    draw = ImageDraw.Draw(image)
    for at in range(4):
        left, top = (seed * 13 + at * 17) % 40, (seed * 7 + at * 23) % 40
        draw.rectangle((left, top, left + 14, top + 9), fill=((seed * 71 + at * 60) % 255, at * 50, 90))
    return image


def drawn(image: ImageRef, row_id: str = "a", **changed: object) -> Drawn:
    mine = Picture(image=image, generator="painter", cost_usd=0.0)
    given = {"proposal": proposal(row_id), "work": work(), **changed}
    return Drawn(picture=mine, **given)  # pyright: ignore[reportArgumentType]


def judgement(score: float = 1.0, judge: str = "image", **parts: float | None) -> Judgement:
    return Judgement(
        judge=judge, score=score, parts=parts, rationale="looked", model="m-1", prompt_sha256="0", latency_s=0.0
    )


def verified(image: ImageRef, row_id: str = "a", prompt: str = "Draw the flag of Poland.") -> Verified:
    row = drawn(image, row_id, proposal=proposal(row_id, prompt))
    scores: Mapping[str, float | None] = {"correctness": 1.0}
    return Verified(
        proposal=row.proposal,
        work=row.work,
        picture=row.picture,
        verdict=Verdict(scores=scores, judgements=(judgement(),)),
    )


def store(folder: Path) -> ImageStore:
    return ImageStore(folder / "images")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
