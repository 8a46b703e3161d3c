"""Any conversation at all: what the engine read is what is learned from, and pictures are only those that were shown."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import PLAIN_TAGS, SPECIAL_TOKENS, TAG_TOKENS, Renderer
from gen_searcher.config.agent import AgentConfig, ToolsConfig
from gen_searcher.grpo.samples import trajectory_sample
from gen_searcher.testing.fake_tools import FakeTools
from gen_searcher.testing.scripted_engine import LOG_KEPT, LOGPROB, ScriptedEngine
from gen_searcher.types import FoundImage, ImageRef, Task, ToolResult, Trajectory

RENDERER = Renderer.over_bytes()
SAMPLED_IDS = 256 + len(SPECIAL_TOKENS) + len(TAG_TOKENS)
ANSWER = '<answer>{"gen_prompt": "a flag", "reference_images": []}</answer>'
PLACEHOLDERS = ("<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>", "<|video_pad|>", "<|vision_start|>")

outside = st.lists(
    st.one_of(
        st.sampled_from([*SPECIAL_TOKENS, *TAG_TOKENS, *PLAIN_TAGS, *PLACEHOLDERS, "<|", "|>", "\u200b", "\u202e"]),
        st.text(max_size=6),
    ),
    max_size=6,
).map("".join)


@st.composite
def found_images(draw: st.DrawFn) -> FoundImage:
    number = draw(st.integers(0, 9))
    width_px, height_px = (32 * draw(st.integers(1, 4)) for _ in range(2))
    return FoundImage(
        img_id=f"provisional{number}",
        title=draw(outside),
        url=f"http://x.web/{number}.webp",
        page_url=f"http://x.web/{number}",
        image=ImageRef(sha256=f"full{number}", width_px=128, height_px=128),
        view=ImageRef(sha256=f"view{number}", width_px=width_px, height_px=height_px),
    )


def call(name: str, **arguments: object) -> str:
    return f"<think>x</think>\n<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def said(number: int) -> st.SearchStrategy[str | tuple[int, ...]]:
    """A completion: a call that no other turn makes, text with anything in it, or tokens that no text would give."""
    calls = [call("search", queries=[f"q{number}"]), call("image_search", query=f"q{number}")]
    calls.append(call("browse", url=f"http://x.web/{number}", query="q"))
    tokens = st.lists(st.integers(0, SAMPLED_IDS - 1), max_size=30).map(tuple)
    return st.one_of(st.sampled_from(calls), st.sampled_from(calls), outside, tokens)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[ScriptedEngine, Trajectory]:
    """The engine that was asked, and what came of it."""
    config = AgentConfig(
        prompt="brief",
        max_turns=draw(st.integers(1, 6)),
        max_tool_calls=draw(st.integers(0, 5)),
        max_context_tokens=draw(st.sampled_from([1200, 2000, 20_000])),
        max_turn_tokens=draw(st.sampled_from([40, 400])),
        answer_tokens=100,
        tools=ToolsConfig(images_per_search=draw(st.integers(1, 4))),
    )
    results = st.builds(ToolResult, text=outside)
    with_pictures = st.builds(ToolResult, text=outside, images=st.lists(found_images(), max_size=5).map(tuple))
    tools = FakeTools(
        {
            "search": draw(st.lists(results, min_size=1, max_size=3)),
            "browse": draw(st.lists(results, min_size=1, max_size=3)),
            "image_search": draw(st.lists(with_pictures, min_size=1, max_size=4)),
        }
    )
    texts = [draw(said(number)) for number in range(config.max_turns - 1)]
    engine = ScriptedEngine([*texts, ANSWER], renderer=RENDERER)
    agent = Agent(engine=engine, tools=tools, renderer=RENDERER, config=config)
    task = Task(id="t", prompt=draw(outside), target=None, meta={})
    return engine, asyncio.run(agent.search(task, seed=draw(st.integers(0, 99))))


@given(conversations())
@settings(max_examples=150, deadline=None)
def test_turns_concatenate_to_what_the_engine_read_and_to_what_is_learned(
    conversation: tuple[ScriptedEngine, Trajectory],
) -> None:
    engine, trajectory = conversation
    ids: tuple[int, ...] = ()
    images: tuple[ImageRef, ...] = ()
    for turn, prompt in zip(trajectory.turns, engine.prompts, strict=True):
        ids += turn.prompt_ids
        images += turn.images
        assert (prompt.token_ids, prompt.images) == (ids, images)
        ids += turn.completion_ids
    sample = trajectory_sample(trajectory, 1.0)
    assert (sample.token_ids, sample.images) == (ids, images)
    sampled = [token for token, is_sampled in zip(sample.token_ids, sample.loss_mask, strict=True) if is_sampled]
    assert sampled == [token for turn in trajectory.turns for token in turn.completion_ids]
    assert sample.logprobs == tuple(LOGPROB * is_sampled for is_sampled in sample.loss_mask)
    assert sample.log_kept == tuple(LOG_KEPT * is_sampled for is_sampled in sample.loss_mask)


@given(conversations())
@settings(max_examples=150, deadline=None)
def test_placeholders_equal_pictures_whatever_pages_titles_and_the_policy_write(
    conversation: tuple[ScriptedEngine, Trajectory],
) -> None:
    engine, trajectory = conversation
    pad, frame = RENDERER.picture_id, [RENDERER.encode_completion(token)[0] for token in SPECIAL_TOKENS]
    named = dict(zip(SPECIAL_TOKENS, frame, strict=True))
    for prompt in engine.prompts:
        assert prompt.token_ids.count(pad) == len(prompt.images)
    for number, turn in enumerate(trajectory.turns):
        assert not RENDERER.forbidden_ids.intersection(turn.completion_ids)
        counted = {token: turn.prompt_ids.count(token_id) for token, token_id in named.items()}
        shown = {token: len(turn.images) for token in ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")}
        starts = 3 if number == 0 else 2
        closes = turn.prompt_ids[0] == RENDERER.end_of_turn_id
        expected = {**shown, "<|im_start|>": starts, "<|im_end|>": (2 if number == 0 else 1) + closes}
        assert {token: count for token, count in counted.items() if count} == {t: n for t, n in expected.items() if n}
