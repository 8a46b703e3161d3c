"""A made-up run directory in the format that the sinks write, without any part of the trainer."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine, TurnText
from gen_searcher.types import (
    Attempt,
    Facts,
    FoundImage,
    Grounding,
    ImageRef,
    Judgement,
    Lost,
    Outcome,
    Reference,
    Reward,
    Subject,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)

COUNTRIES = {
    "Poland": ("Warsaw", ("white", "crimson")),
    "France": ("Paris", ("navy", "white", "red")),
    "Italy": ("Rome", ("green", "white", "red")),
    "Germany": ("Berlin", ("black", "red", "gold")),
    "Ireland": ("Dublin", ("green", "white", "orange")),
    "Austria": ("Vienna", ("red", "white", "red")),
    "Hungary": ("Budapest", ("red", "white", "green")),
    "Estonia": ("Tallinn", ("steelblue", "black", "white")),
}
SYSTEM = "<|im_start|>system\nFind facts and pictures, then answer with one prompt and the pictures to use.<|im_end|>\n"
REPLY = '{"rationale": "The stripes are right; the caption is hard to read.", "faithfulness": 1.0}'
SEARCH = ToolCall(name="search", arguments={"queries": ["element discovered 1898 Curie"]})


def flag(country: str, *, caption: str = "", noise: int = 0) -> Image.Image:
    """Stripes, a caption strip, and dots for a generator that draws badly."""
    image = Image.new("RGB", (128, 96), "white")
    draw = ImageDraw.Draw(image)
    colours = COUNTRIES[country][1]
    for index, colour in enumerate(colours):
        draw.rectangle((32, index * 64 // len(colours), 95, (index + 1) * 64 // len(colours)), fill=colour)
    draw.text((64, 80), caption, fill="black", anchor="mm", font_size=18)
    dots = random.Random(f"{country} {noise}")
    for _ in range(noise * 12):
        draw.point((dots.randrange(128), dots.randrange(96)), fill=(dots.randrange(256), 90, 120))
    return image


class FixtureRun:
    """Writes parts of a run directory, one call each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ImageStore(root / "images")

    def metrics(self, stage: str, rows: Sequence[Mapping[str, float]]) -> None:
        self.text(f"{stage}/metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def text(self, place: str, text: str) -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def lines(self, place: str, lines: Sequence[AttemptLine]) -> Path:
        return self.text(place, "".join(ATTEMPT_LINE.dump_json(line).decode() + "\n" for line in lines))

    def task(self, country: str, *, prompt: str | None = None) -> Task:
        capital = COUNTRIES[country][0]
        return Task(
            id=f"flag-{country.lower()}",
            prompt=prompt or f"Draw the flag of the country whose capital is {capital}, with the capital as caption.",
            target=self.store.put(flag(country, caption=capital.upper())),
            facts=Facts(
                subjects=(Subject(entity=f"f-{country}", name=f"Flag of {country}", box=(0.25, 0.0, 0.75, 0.67)),),
                layout="alone",
                caption=capital.upper(),
            ),
            meta={"category": "Geography", "difficulty": "2"},
        )

    def line(
        self,
        country: str,
        *,
        step: int = 0,
        group: str = "g0",
        seed: int = 0,
        score: float = 0.5,
        advantage: float | None = None,
        outcome: Outcome = Outcome.GROUNDED,
        title: str | None = None,
        prompt: str | None = None,
    ) -> AttemptLine:
        task = self.task(country, prompt=prompt)
        turns, texts = self._turns(country, task, outcome=outcome, title=title or f"Flag of {country}")
        grounded = outcome is Outcome.GROUNDED
        capital = COUNTRIES[country][0].upper()
        found = [one for turn in turns if turn.result for one in turn.result.images]
        reference = Reference(
            img_id=found[0].img_id,
            note=found[0].title,
            title=found[0].title,
            url="u",
            page_url="p",
            image=found[0].image,
        )
        prompt_text = f'the first reference image alone. caption "{capital}"'
        grounding = Grounding(
            gen_prompt=prompt_text, references=(reference,), sources=(f"http://geo.mini.web/{country}",)
        )
        attempt = Attempt(
            trajectory=Trajectory(
                task_id=task.id, turns=turns, outcome=outcome, grounding=grounding if grounded else None
            ),
            seed=seed,
            image=self.store.put(flag(country, caption=capital, noise=round(9 * (1 - score)))) if grounded else None,
            judgements=_judgements(score) if grounded else (),
            reward=Reward(total=score if grounded else 0.0, parts={"image": score, "text": score} if grounded else {}),
        )
        return AttemptLine(
            step=step,
            group=group,
            kind="attempt",
            task=task,
            advantage=advantage,
            attempt=attempt,
            lost=None,
            texts=texts,
        )

    def lost(self, country: str, *, step: int, group: str, seed: int = 0) -> AttemptLine:
        task = self.task(country)
        lost = Lost(
            task_id=task.id, seed=seed, stage="generate", error="GeneratorError: the actor died (out of memory)"
        )
        return AttemptLine(step=step, group=group, kind="lost", task=task, advantage=None, attempt=None, lost=lost)

    def _turns(
        self, country: str, task: Task, *, outcome: Outcome, title: str
    ) -> tuple[tuple[Turn, ...], tuple[TurnText, ...]]:
        images = [
            self._found(name, f"IMG_{n:03d}", title if name == country else f"Flag of {name}")
            for n, name in enumerate([country, *[other for other in COUNTRIES if other != country][:3]], start=1)
        ]
        first = (
            "results for: element discovered 1898 Curie\n1. Polonium | http://geo.mini.web/polonium\n"
            "Polonium is a chemical element found by Marie Curie in 1898."
        )
        seen = "\n".join(f"{one.title} is {one.img_id} <|vision_start|><|image_pad|><|vision_end|>" for one in images)
        call = ToolCall(name="image_search", arguments={"query": f"flag of {country}", "top_k": 4})
        answer = json.dumps(
            {
                "gen_prompt": "the first reference image alone.",
                "reference_images": [{"note": title, "img_id": "IMG_001"}],
            }
        )
        last = f"<think>The first one fits.</think>\n<answer>{answer}</answer>"
        if outcome is Outcome.MALFORMED:
            last = "<think>I am lost.</think>\nHere is your picture {{ gen_prompt"
        texts = (
            TurnText(
                prompt=f"{SYSTEM}<|im_start|>user\n{task.prompt}<|im_end|>\n<|im_start|>assistant\n",
                completion="<think>Find the capital first.</think>\n<tool_call>"
                + json.dumps({"name": SEARCH.name, "arguments": dict(SEARCH.arguments)})
                + "</tool_call><|im_end|>",
            ),
            TurnText(
                prompt=f"\n<|im_start|>user\n<tool_response>\n{first}\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
                completion="<think>Now a picture.</think>\n<tool_call>"
                + json.dumps({"name": call.name, "arguments": dict(call.arguments)})
                + "</tool_call><|im_end|>",
            ),
            TurnText(
                prompt=f"\n<|im_start|>user\n<tool_response>\n{seen}\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
                completion=f"{last}<|im_end|>",
            ),
        )
        results = (
            ToolResult(text=first, sources=("http://geo.mini.web/polonium",), latency_s=0.021),
            ToolResult(text=seen, images=tuple(images), latency_s=0.035, cache="hit"),
            None,
        )
        turns = tuple(
            Turn(
                prompt_ids=tuple(range(20)),
                completion_ids=(1, 2, 3, 4),
                logprobs=(-0.5, -0.25, -0.25, 0.0),
                versions=(3, 3, 3, 4),
                call=made,
                result=result,
            )
            for made, result in zip((SEARCH, call, None), results, strict=True)
        )
        return turns, texts

    def _found(self, country: str, img_id: str, title: str) -> FoundImage:
        ref: ImageRef = self.store.put(flag(country))
        url = f"http://geo.mini.web/{country.lower()}.webp"
        return FoundImage(img_id=img_id, title=title, url=url, page_url=url, image=ref, view=ref)


def _judgements(score: float) -> tuple[Judgement, ...]:
    parts = {"faithfulness": 1.0, "visual_correctness": score, "text_accuracy": None, "aesthetics": 0.5}
    return (
        Judgement(
            judge="image",
            score=score,
            parts=parts,
            rationale="The stripes are right; the caption is hard to read.",
            model="offline",
            prompt_sha256="ab" * 32,
            latency_s=0.12,
            reply=REPLY,
        ),
        Judgement(
            judge="text",
            score=1.0,
            parts={"subject": 1.0},
            rationale="The right flag was chosen.",
            model="offline",
            prompt_sha256="cd" * 32,
            latency_s=0.001,
        ),
    )


def training_rows(steps: int) -> list[dict[str, float]]:
    """Numbers that look like a training run."""
    noise = random.Random(7)
    rows: list[dict[str, float]] = []
    for step in range(1, steps + 1):
        grown = 1 - math.exp(-step / 25)
        rows.append(
            {
                "step": step,
                "time_s": step * 21.5,
                "reward/total": 0.2 + 0.5 * grown + noise.gauss(0, 0.05),
                "reward/std": 0.25 - 0.1 * grown + noise.gauss(0, 0.02),
                "judge/faithfulness": 0.4 + 0.5 * grown + noise.gauss(0, 0.05),
                "judge/visual_correctness": 0.2 + 0.4 * grown + noise.gauss(0, 0.05),
                "learn/loss": noise.gauss(0, 0.02),
                "learn/grad_norm": abs(noise.gauss(0.8, 0.3)),
                "learn/logprob_gap_mean": abs(noise.gauss(2e-3, 5e-4)),
                "learn/clip_frac": abs(noise.gauss(0.01, 0.004)),
                "step/rollout_s": 12 + noise.random(),
                "step/learn_s": 6 + noise.random(),
                "step/publish_s": 1.4 + noise.random() / 3,
                "rollout/lost_frac": float(noise.random() < 0.1) * 0.05,
                "rollout/turns": 3 + noise.random(),
                "rollout/sampled_tokens": 2200 + noise.gauss(0, 120),
                "machine/memory_bytes": 9.1e9 + noise.random() * 1e8,
                "learner/mismatch_nats": 1.5e-3,
            }
        )
    return rows


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[[], FixtureRun]:
    return lambda: FixtureRun(tmp_path / "run-7")


@pytest.fixture
def run(new_run: Callable[[], FixtureRun]) -> FixtureRun:
    return new_run()


@pytest.fixture
def full_run(run: FixtureRun) -> FixtureRun:
    """SFT, GRPO and a benchmark of three arms."""
    fill(run)
    return run


def fill(run: FixtureRun) -> None:
    """Write every part that a report reads."""
    noise = random.Random(3)
    run.text("config/grpo.yaml", "steps: 60\ngroup_size: 4\nlearner:\n  lr: 1.0e-05\nreward:\n  alpha: 0.5\n")
    run.text("config/sft.yaml", "steps: 80\n")
    run.metrics(
        "sft", [{"step": s, "time_s": s * 1.2, "learn/loss": 2.5 * math.exp(-s / 20) + 0.1} for s in range(1, 81)]
    )
    run.metrics("grpo", training_rows(60))
    lines: list[AttemptLine] = []
    for step in (58, 59, 60):
        for country in list(COUNTRIES)[:4]:
            for seed in range(4):
                kind = Outcome.MALFORMED if seed == 3 and step == 58 else Outcome.GROUNDED
                score = round(noise.random(), 3)
                lines.append(
                    run.line(
                        country,
                        step=step,
                        group=f"{country}",
                        seed=seed,
                        score=score,
                        outcome=kind,
                        advantage=round(score - 0.5, 3),
                    )
                )
        lines.append(run.lost("Estonia", step=step, group="Estonia"))
    run.lines("grpo/attempts.jsonl", lines)
    arms = {"base": 0.31, "after-sft": 0.52, "after-grpo": 0.68}
    for arm, level in arms.items():
        made = [run.line(c, group=c, score=min(1.0, round(level + noise.gauss(0, 0.2), 3))) for c in COUNTRIES]
        run.lines(f"bench/attempts-{arm}.jsonl", made)
    run.text(
        "bench/table.json",
        json.dumps(
            {
                "arms": [
                    {
                        "arm": arm,
                        "k_score": level,
                        "low": level - 0.06,
                        "high": level + 0.06,
                        "faithfulness": level + 0.1,
                        "visual_correctness": level,
                        "text_accuracy": level - 0.1 if arm != "base" else None,
                        "aesthetics": 0.5,
                        "text_reward": level,
                        "tasks": 8,
                        "lost": 0,
                    }
                    for arm, level in arms.items()
                ],
                "paired": [
                    {"better": "after-grpo", "baseline": "after-sft", "difference": 0.16, "low": 0.07, "high": 0.25},
                    {"better": "after-sft", "baseline": "base", "difference": 0.21, "low": -0.02, "high": 0.44},
                ],
            }
        ),
    )
