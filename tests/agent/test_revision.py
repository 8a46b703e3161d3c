"""The turn about one's own picture, numbered like the semantics of a trajectory: what is learned hangs on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.agent.look import Looker, show
from gen_searcher.agent.loop import Agent, turn_seed
from gen_searcher.agent.prompt import system_prompt
from gen_searcher.agent.render import Renderer
from gen_searcher.agent.revision import KEEP_FORM, is_keep, may_look, own_pictures
from gen_searcher.config.agent import AgentConfig, ToolsConfig
from gen_searcher.drawing import OwnPicture
from gen_searcher.errors import GeneratorError
from gen_searcher.grpo.pack import pack, sample_tokens
from gen_searcher.grpo.samples import trajectory_sample
from gen_searcher.image_store import ImageStore
from gen_searcher.testing.fake_tools import FakeTools
from gen_searcher.testing.scripted_engine import LOG_KEPT, LOGPROB, ScriptedEngine
from gen_searcher.tools.images import fit_for_policy
from gen_searcher.types import FoundImage, ImageRef, Outcome, Task, ToolResult, Trajectory

RENDERER = Renderer.over_bytes()
CONFIG = AgentConfig(
    prompt="brief",
    looks=1,
    max_turns=5,
    max_context_tokens=20_000,
    answer_tokens=300,
    tools=ToolsConfig(view_side_px=64),
)
TASK = Task(id="t1", prompt="Draw the flag of Poland.", target=None, meta={})
KEEP = f"<think>right</think>\n{KEEP_FORM}"
LOOK = '<think>x</think>\n<tool_call>{"name": "image_search", "arguments": {"query": "q"}}</tool_call>'
SEARCH = '<think>x</think>\n<tool_call>{"name": "search", "arguments": {"queries": ["q"]}}</tool_call>'
PAD = "<|vision_start|><|image_pad|><|vision_end|>"
DRAWING = Image.linear_gradient("L").resize((200, 120)).convert("RGB")


def picture(number: int) -> FoundImage:
    return FoundImage(
        img_id="",
        title=f"Flag {number}",
        url=f"http://x.web/{number}.webp",
        page_url=f"http://x.web/{number}",
        image=ImageRef(sha256=f"full{number}", width_px=128, height_px=128),
        view=ImageRef(sha256=f"view{number}", width_px=64, height_px=64),
    )


def answer(prompt: str, *img_ids: str) -> str:
    images = [{"note": "n", "img_id": img_id} for img_id in img_ids]
    return f"<answer>{json.dumps({'gen_prompt': prompt, 'reference_images': images})}</answer>"


class Run:
    def __init__(self, folder: Path, *texts: str, config: AgentConfig = CONFIG) -> None:
        self.engine = ScriptedEngine(texts, renderer=RENDERER)
        found = ToolResult(text="pictures for: q", images=(picture(1), picture(2), picture(1)))
        self.tools = FakeTools({"image_search": [found], "search": [ToolResult(text="s", sources=("http://x.web/s",))]})
        self.agent = Agent(engine=self.engine, tools=self.tools, renderer=RENDERER, config=config)
        self.store = ImageStore(folder)
        self.looker = Looker(self.agent, self.store, view_side_px=config.tools.view_side_px)
        self.drawn = OwnPicture(image=self.store.put(DRAWING), cost_usd=0.04, latency_s=1.5)

    async def search(self) -> Trajectory:
        return await self.agent.search(TASK, seed=7)

    async def go(self) -> Trajectory:
        return await self.looker.revise(await self.search(), self.drawn, seed=7)


def read(trajectory: Trajectory, turn: int) -> str:
    return RENDERER.text(trajectory.turns[turn].prompt_ids)


async def test_01_the_policy_reads_its_picture_and_the_two_things_it_may_write(tmp_path: Path) -> None:
    done = await Run(tmp_path, answer("first"), KEEP).go()
    assert read(done, 1) == (
        f"\n<|im_start|>user\n<tool_response>\nyour picture is {PAD}\nIf it is right, write <answer>keep</answer>. If not, "
        'write a better one: <answer>{"gen_prompt": "...", "reference_images": [{"note": "...", "img_id": "IMG_001"}]}'
        "</answer>\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


async def test_02_keep_leaves_the_first_grounding(tmp_path: Path) -> None:
    run = Run(tmp_path, SEARCH, LOOK, answer("first", "IMG_002"), KEEP)
    first = await run.search()
    done = await run.looker.revise(first, run.drawn, seed=7)
    assert done.outcome is Outcome.GROUNDED
    assert done.grounding == first.grounding
    assert done.turns[:2] == first.turns[:2]
    assert done.turns[2] == replace(first.turns[2], result=done.turns[2].result)
    assert len(done.turns) == 4


async def test_03_another_answer_takes_its_place_and_may_cite_what_was_shown_before(tmp_path: Path) -> None:
    done = await Run(tmp_path, SEARCH, LOOK, answer("first", "IMG_002"), answer("second", "IMG_001")).go()
    assert done.grounding is not None
    assert done.grounding.gen_prompt == "second"
    assert [reference.image for reference in done.grounding.references] == [picture(1).image]
    assert done.grounding.sources == ("http://x.web/s", "http://x.web/1", "http://x.web/1.webp")


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        SEARCH,
        SEARCH + KEEP_FORM,
        "<answer>Keep it</answer>",
        "<answer>{}</answer>",
        "<answer>keep",
        answer("draw IMG_001"),
        answer("second", "IMG_003"),
        answer("second", ""),
    ],
)
async def test_04_what_neither_keeps_nor_answers_is_malformed_and_runs_no_tool(tmp_path: Path, text: str) -> None:
    run = Run(tmp_path, LOOK, answer("first", "IMG_001"), text)
    done = await run.go()
    assert (done.outcome, done.grounding) == (Outcome.MALFORMED, None)
    assert len(run.tools.calls) == 1
    assert own_pictures(done) == (run.drawn.image,)


async def test_05_a_second_answer_that_is_cut_is_out_of_tokens(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"max_turn_tokens": 80})
    done = await Run(tmp_path, answer("first"), answer("second" * 20), config=config).go()
    assert (done.outcome, done.grounding) == (Outcome.OUT_OF_TOKENS, None)


async def test_06_the_same_answer_once_more_is_an_answer(tmp_path: Path) -> None:
    done = await Run(tmp_path, answer("first"), answer("first")).go()
    assert done.outcome is Outcome.GROUNDED
    assert done.grounding is not None
    assert done.grounding.gen_prompt == "first"


async def test_07_turns_concatenate_to_exactly_what_the_engine_saw_and_the_learner_learns(tmp_path: Path) -> None:
    run = Run(tmp_path, LOOK, answer("first", "IMG_001"), KEEP)
    done = await run.go()
    last = run.engine.prompts[-1]
    sample = trajectory_sample(done, 0.5)
    said = RENDERER.encode_completion(KEEP)
    assert sample.token_ids == (*last.token_ids, *said)
    assert sample.images == last.images
    assert sample.token_ids.count(RENDERER.picture_id) == len(sample.images) == 3
    shown = sum(len(turn.prompt_ids) for turn in done.turns)
    sampled = sum(len(turn.completion_ids) for turn in done.turns)
    assert (sample.loss_mask.count(False), sample.loss_mask.count(True)) == (shown, sampled)
    assert sample.loss_mask[-len(said) - 1 :] == (False, *(True,) * len(said))
    assert sample.logprobs[-len(said) :] == (LOGPROB,) * len(said)
    assert sample.log_kept[-len(said) :] == (LOG_KEPT,) * len(said)
    assert sample_tokens(sample) == len(sample.token_ids) + 3 + 3 + 1  # 64x64, 64x64 and 64x32 px
    assert pack([sample], row_tokens=20_000).trained_tokens == sampled


async def test_08_the_learner_finds_the_very_pixels_that_were_shown(tmp_path: Path) -> None:
    run = Run(tmp_path, answer("first"), KEEP)
    done = await run.go()
    (view,) = done.turns[1].images
    assert (view.width_px, view.height_px) == (64, 32)
    assert run.store.get(view).tobytes() == fit_for_policy(DRAWING, side_px=64).tobytes()
    assert run.engine.prompts[1].images == (view,)


async def test_09_the_drawing_is_on_record_beside_the_answer_it_came_from(tmp_path: Path) -> None:
    run = Run(tmp_path, SEARCH, answer("first"), answer("second"))
    done = await run.go()
    assert own_pictures(done) == (run.drawn.image,)
    told = done.turns[1].result
    assert told is not None
    assert (told.cost_usd, told.latency_s, told.images[0].image) == (0.04, 1.5, run.drawn.image)
    assert done.turns[2].result is None


async def test_10_the_seed_of_the_look_is_that_of_its_place(tmp_path: Path) -> None:
    run = Run(tmp_path, SEARCH, answer("first"), KEEP)
    await run.go()
    assert [one.seed for one in run.engine.samplings] == [turn_seed(7, turn=number) for number in range(3)]


async def test_11_without_room_for_a_look_the_answer_stands(tmp_path: Path) -> None:
    run = Run(tmp_path, answer("first"), KEEP)
    first = await run.search()
    used = sum(len(turn.prompt_ids) + len(turn.completion_ids) for turn in first.turns)
    tight = CONFIG.model_copy(update={"max_context_tokens": used + CONFIG.answer_tokens + 10})
    agent = Agent(engine=run.engine, tools=run.tools, renderer=RENDERER, config=tight)
    assert await Looker(agent, run.store, view_side_px=64).revise(first, run.drawn, seed=7) is first
    assert len(run.engine.prompts) == 1


async def test_15_an_engine_that_takes_no_more_pictures_leaves_the_answer_as_it_stands(tmp_path: Path) -> None:
    run = Run(tmp_path, LOOK, answer("first", "IMG_001"), KEEP)
    first = await run.search()
    full, roomy = (
        Agent(engine=run.engine, tools=run.tools, renderer=RENDERER, config=CONFIG, max_images=most) for most in (2, 3)
    )
    assert await Looker(full, run.store, view_side_px=64).revise(first, run.drawn, seed=7) is first
    looked = await Looker(roomy, run.store, view_side_px=64).revise(first, run.drawn, seed=7)
    assert len(looked.turns) == len(first.turns) + 1


async def test_12_a_look_needs_an_answer_a_turn_a_place_for_the_picture_and_context(tmp_path: Path) -> None:
    first = await Run(tmp_path, LOOK, answer("first", "IMG_001")).search()
    shown = sum(len(turn.images) for turn in first.turns)
    assert shown == 2
    assert may_look(first, CONFIG, max_images=3)
    assert not may_look(first, CONFIG, max_images=2)
    assert not may_look(first, CONFIG.model_copy(update={"looks": 0}), max_images=3)
    assert may_look(first, CONFIG.model_copy(update={"max_turns": 3}), max_images=3)
    assert not may_look(first, CONFIG.model_copy(update={"max_turns": 2}), max_images=3)
    used = sum(len(turn.prompt_ids) + len(turn.completion_ids) for turn in first.turns) + 2 * 3
    assert may_look(first, CONFIG.model_copy(update={"max_context_tokens": used + 301}), max_images=3)
    assert not may_look(first, CONFIG.model_copy(update={"max_context_tokens": used + 300}), max_images=3)
    without = replace(first, outcome=Outcome.MALFORMED, grounding=None)
    assert not may_look(without, CONFIG, max_images=3)


async def test_13_an_answer_that_was_cut_is_closed_before_the_picture(tmp_path: Path) -> None:
    whole = answer("first")
    config = CONFIG.model_copy(update={"max_turn_tokens": len(whole)})  # the end of the turn does not fit
    run = Run(tmp_path, whole, KEEP, config=config)
    done = await run.go()
    assert done.turns[0].completion_ids[-1] != RENDERER.end_of_turn_id
    assert done.turns[1].prompt_ids[0] == RENDERER.end_of_turn_id
    assert done.outcome is Outcome.GROUNDED


async def test_14_in_any_other_turn_keep_is_no_answer(tmp_path: Path) -> None:
    trajectory = await Run(tmp_path, KEEP, answer("first")).search()
    assert "error: the answer is not valid JSON" in read(trajectory, 1)


def test_15_only_the_bare_word_in_the_first_answer_keeps() -> None:
    assert is_keep("<think>well</think>\n<answer> keep\n</answer>")
    assert is_keep(KEEP_FORM + answer("second"))
    assert not is_keep(answer("second") + KEEP_FORM)
    assert not is_keep(f"<think>{KEEP_FORM}</think> hm")
    assert not is_keep(f"<tool_response>{KEEP_FORM}")


def test_16_the_prompt_tells_of_the_picture_only_when_it_is_shown() -> None:
    for prompt in ("brief", "full"):
        on = CONFIG.model_copy(update={"prompt": prompt})
        off = on.model_copy(update={"looks": 0})
        assert KEEP_FORM in system_prompt(on)
        assert "keep" not in system_prompt(off)
        assert system_prompt(on).startswith(f"{system_prompt(off)}\n")


def test_17_a_drawing_that_cannot_be_read_is_the_worlds_failure(tmp_path: Path) -> None:
    absent = OwnPicture(image=ImageRef(sha256="ab" * 32, width_px=8, height_px=8), cost_usd=0.0, latency_s=0.0)
    with pytest.raises(GeneratorError, match="cannot be shown"):
        show(absent, store=ImageStore(tmp_path), view_side_px=64)
