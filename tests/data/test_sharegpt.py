from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen_searcher.agent.render import Own, Picture, Renderer
from gen_searcher.data.demonstrations import Demonstration
from gen_searcher.data.sharegpt import PictureRules, is_sharegpt, read_sharegpt, write_sharegpt
from gen_searcher.errors import DataError
from gen_searcher.grpo.samples import trajectory_sample
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Grounding, ImageRef, Outcome, Task, Trajectory, Turn

RENDERER = Renderer.over_bytes()


def photo(width_px: int = 64, height_px: int = 96, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height_px, width_px, 3), dtype=np.uint8))


def turn(prompt_ids: tuple[int, ...], said: str, *images: ImageRef) -> Turn:
    completion_ids = RENDERER.encode_completion(said)
    zeros = len(completion_ids)
    return Turn(
        prompt_ids=prompt_ids,
        completion_ids=completion_ids,
        logprobs=(0.0,) * zeros,
        versions=(0,) * zeros,
        images=images,
    )


def demonstration(store: ImageStore, *, task: str = "draw the <|im_end|> flag", seed: int = 0) -> Demonstration:
    views = (store.put(photo(seed=seed)), store.put(photo(96, 64, seed=seed + 1)))
    observation = RENDERER.observation(
        ["Flag of Pölska\n", Picture(), Own("</think> and "), Picture()], closes_turn=False
    )
    turns = (
        turn(RENDERER.opening(system="You search.\nTwice.", task=task), "<think>hm</think><tool_call>{}</tool_call>"),
        turn(observation, '<answer>{"gen_prompt": "a flag"}</answer>', *views),
    )
    grounding = Grounding(gen_prompt="a flag", references=())
    trajectory = Trajectory(task_id="t1", turns=turns, outcome=Outcome.GROUNDED, grounding=grounding)
    return Demonstration(task=Task(id="t1", prompt=task, target=None, meta={}), trajectory=trajectory)


def rules(folder: Path, *, max_pixels: int = 160_000) -> PictureRules:
    return PictureRules(store=ImageStore(folder / "store"), max_pixels=max_pixels)


@pytest.mark.parametrize("name", ["demos.json", "demos.jsonl"])
def test_demonstrations_come_back_from_sharegpt_with_the_same_tokens_and_pictures(tmp_path: Path, name: str) -> None:
    store = ImageStore(tmp_path / "images")
    demonstrations = [demonstration(store), demonstration(store, task="another", seed=5)]
    path = tmp_path / name
    write_sharegpt(path, demonstrations, renderer=RENDERER, store=store)
    assert is_sharegpt(path)
    found = read_sharegpt(path, renderer=RENDERER, pictures=rules(tmp_path))
    for demo, labelled in zip(demonstrations, found, strict=True):
        expected = trajectory_sample(demo.trajectory, 1.0)
        assert labelled.sample.token_ids == expected.token_ids
        assert labelled.sample.loss_mask == expected.loss_mask
        assert labelled.sample.images == expected.images
        assert labelled.sample.advantage == 1.0
    assert found[1].label == f"{path}, row 2"
    assert found[0].sample.trained_tokens == sum(
        len(turn.completion_ids) for turn in demonstrations[0].trajectory.turns
    )


def write(folder: Path, messages: list[tuple[str, str]], images: list[str], **columns: object) -> Path:
    path = folder / "data.json"
    row = {"messages": [{"role": r, "content": c} for r, c in messages], "images": images, **columns}
    path.write_text(json.dumps([row]))
    return path


def test_all_assistant_messages_are_learned_to_their_end_and_nothing_else(tmp_path: Path) -> None:
    messages = [("user", "a"), ("assistant", "b"), ("user", "c"), ("user", "d"), ("assistant", "e")]
    path = write(tmp_path, messages, [], source="somewhere")
    (labelled,) = read_sharegpt(path, renderer=RENDERER, pictures=rules(tmp_path))
    sample = labelled.sample
    assert RENDERER.text(sample.token_ids) == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
        "<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\ne<|im_end|>"
    )
    trained = [token for token, is_trained in zip(sample.token_ids, sample.loss_mask, strict=True) if is_trained]
    assert RENDERER.text(trained) == "b<|im_end|>e<|im_end|>"


def test_a_picture_is_scaled_to_the_pixel_budget_with_sides_of_multiples_of_32(tmp_path: Path) -> None:
    photo(1000, 500).save(tmp_path / "big.png")
    photo(50, 70).save(tmp_path / "odd.jpg")
    photo(4000, 40).save(tmp_path / "strip.png")
    path = write(
        tmp_path, [("user", "<image><image><image>"), ("assistant", "ok")], ["big.png", "odd.jpg", "strip.png"]
    )
    (labelled,) = read_sharegpt(path, renderer=RENDERER, pictures=rules(tmp_path))
    assert [(i.width_px, i.height_px) for i in labelled.sample.images] == [(544, 288), (64, 64), (4000, 32)]
    assert rules(tmp_path).store.get(labelled.sample.images[0]).size == (544, 288)


ASK, SAY = ("user", "q"), ("assistant", "a")


@pytest.mark.fault(42)
@pytest.mark.parametrize(
    ("messages", "images", "says"),
    [
        ([("user", "<image>"), SAY], [], r"row 1: 1 <image> in the messages and 0 paths in images; write one for each"),
        ([ASK, SAY], ["x.png"], r"row 1: 0 <image> in the messages and 1 paths"),
        ([("user", "<image>"), SAY], ["x.png"], r"row 1: images\[0\]: there is no file .*x\.png; paths are relative"),
        ([("user", "<image>"), SAY], ["data.json"], r"row 1: images\[0\]: .*data\.json is not a picture"),
        ([("human", "q"), SAY], [], r'row 1: messages\.0\.role: .*write "messages": \[\{"role": "system" \| "user"'),
        ([ASK, SAY, ASK], [], r"row 1: the last message is of role user, .* end with an assistant message"),
        ([SAY, ASK], [], r"row 1: messages\[0\]: an assistant message follows a user message"),
        ([ASK, SAY, SAY], [], r"row 1: messages\[2\]: an assistant message follows a user message"),
        ([ASK, ("system", "s"), SAY], [], r"row 1: messages\[1\]: a system message comes first or not at all"),
        ([("user", "a<|im_end|>b"), SAY], [], r"row 1: messages\[0\]\.content holds <\|im_end\|>; remove it"),
        ([("user", "<|image_pad|>"), SAY], [], r"messages\[0\]\.content holds <\|image_pad\|>; write <image>"),
        ([ASK, ("assistant", "half \ud83d")], [], r"row 1: messages\[1\]\.content holds half of an escaped character"),
        ([ASK, ("assistant", "<image>")], [], r"messages\[1\]\.content: the assistant cannot show a picture"),
    ],
)
def test_a_wrong_row_is_named_with_what_to_write_instead(
    tmp_path: Path, messages: list[tuple[str, str]], images: list[str], says: str
) -> None:
    path = write(tmp_path, messages, images)
    with pytest.raises(DataError, match=says) as caught:
        read_sharegpt(path, renderer=RENDERER, pictures=rules(tmp_path))
    assert str(path) in str(caught.value)


def test_a_demonstration_that_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    with pytest.raises(DataError, match="the demonstration of task t1 has a text with <image> in it"):
        write_sharegpt(
            tmp_path / "d.json", [demonstration(store, task="an <image> tag")], renderer=RENDERER, store=store
        )
    assert not (tmp_path / "d.json").exists()


def test_a_file_of_our_own_is_not_taken_for_sharegpt(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"task": {}, "trajectory": {}}\n')
    assert not is_sharegpt(tmp_path / "own.jsonl")
    (tmp_path / "lines.jsonl").write_text('\n{"messages": []}\n')
    assert is_sharegpt(tmp_path / "lines.jsonl")
    (tmp_path / "broken.json").write_text('[{"messages": ')
    with pytest.raises(DataError, match=r"broken\.json is not JSON"):
        read_sharegpt(tmp_path / "broken.json", renderer=RENDERER, pictures=rules(tmp_path))


@pytest.mark.fault(42)
@pytest.mark.parametrize("broken", [b'{"messages": [{"ro', b"\xff\xfe", b"[" * 100_000, b"NULL"])
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, broken: bytes) -> None:
    row = {"messages": [{"role": "user", "content": "a\u2028b"}, {"role": "assistant", "content": "ok"}]}
    sound = json.dumps(row, ensure_ascii=False).encode()
    path = tmp_path / "lines.jsonl"
    path.write_bytes(sound + b"\n\n" + sound + b"\n")
    found = read_sharegpt(path, renderer=RENDERER, pictures=rules(tmp_path))
    assert [one.label for one in found] == [f"{path}, row 1", f"{path}, row 3"], "a line separator ends no line"
    path.write_bytes(sound + b"\n\n" + broken + b"\n")
    with pytest.raises(DataError, match=r"lines\.jsonl, (line|row) 3: "):
        read_sharegpt(path, renderer=RENDERER, pictures=rules(tmp_path))
