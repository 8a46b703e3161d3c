"""ShareGPT files with pictures: messages and paths -> samples, and our demonstrations -> messages and paths.

A file is a JSON array or JSON lines of `{"messages": [{"role", "content"}], "images": [path]}`: roles `system`, `user`
and `assistant`, one `<image>` in the text for each path, paths relative to the file. Every assistant message is
learned from, to its end-of-turn token; the rest is context.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_searcher.agent.render import PICTURE, SPECIAL_TOKENS, Renderer
from gen_searcher.data.demonstrations import Demonstration, LabelledSample
from gen_searcher.data.rows import Words
from gen_searcher.data.tasks import BAD_PICTURE, open_picture
from gen_searcher.errors import DataError
from gen_searcher.grpo.samples import trajectory_sample
from gen_searcher.image_store import ImageStore
from gen_searcher.tools.images import PATCH_PX
from gen_searcher.types import ImageRef, Sample
from gen_searcher.web import writable

PLACEHOLDER = "<image>"
"""The place of one picture in the text."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str


class _Row(BaseModel):
    """A conversation as it is written; other columns are other people's business."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    messages: list[_Message] = Field(min_length=2)
    images: list[str] = Field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation whose pictures lie in a store."""

    words: tuple[Words, ...]
    images: tuple[ImageRef, ...]
    """In the order of their `<image>`."""
    where: str
    """Whose it is, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRules:
    """How pictures reach the policy."""

    store: ImageStore
    max_pixels: int
    """A larger picture is scaled down to it."""


def is_sharegpt(path: Path) -> bool:
    """Whether the file's beginning is that of a ShareGPT file: an array, or a line with `messages`."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"").strip()
    if first.startswith(b"["):
        return True
    try:
        row: object = json.loads(first)
    except ValueError:
        return False
    return isinstance(row, dict) and "messages" in row


def read_sharegpt(path: Path, *, renderer: Renderer, pictures: PictureRules) -> list[LabelledSample]:
    """All conversations of a file as samples; their pictures go into the store.

    Raises:
        DataError: Names file, row and field, and says what to write instead.
    """
    found: list[LabelledSample] = []
    for number, raw in _rows(path):
        where = f"{path}, row {number}"
        row = _parse(raw, where=where)
        images = [
            _picture(path.parent / name, pictures, where=f"{where}: images[{i}]") for i, name in enumerate(row.images)
        ]
        found.append(LabelledSample(label=where, sample=_sample(row, images, renderer=renderer, where=where)))
    if not found:
        raise DataError(f"{path} holds no conversation")
    return found


def write_sharegpt(
    path: Path, demonstrations: Sequence[Demonstration], *, renderer: Renderer, store: ImageStore
) -> None:
    """Write demonstrations as conversations, their pictures beside the file; a `.jsonl` gets lines, else an array.

    Every row is rendered again before it is written: what is read back has the same tokens.

    Raises:
        DataError: A demonstration that the format cannot hold, such as one whose text has an `<image>` of its own.
    """
    conversations: list[Conversation] = []
    for demonstration in demonstrations:
        sample = trajectory_sample(demonstration.trajectory, 1.0)
        where = f"the demonstration of task {demonstration.task.id}"
        words = read_words(renderer.text(sample.token_ids), where=where)
        row = _Row(messages=_messages(words), images=[ref.sha256 for ref in sample.images])
        if _sample(row, sample.images, renderer=renderer, where=where).token_ids != sample.token_ids:
            raise DataError(f"{where} has other tokens when its text is read again: it was sampled, not written")
        conversations.append(Conversation(words=words, images=sample.images, where=where))
    write_conversations(path, conversations, store=store)


def write_conversations(path: Path, conversations: Sequence[Conversation], *, store: ImageStore) -> None:
    """Write conversations, their pictures beside the file; a `.jsonl` gets lines, else an array. All of them or nothing.

    Raises:
        DataError: A conversation that `read_sharegpt` would refuse.
    """
    folder = path.parent / f"{path.stem}_images"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for one in conversations:
        for ref in one.images:
            if not (folder / f"{ref.sha256}.png").exists():
                shutil.copyfile(store.path(ref), folder / f"{ref.sha256}.png")
        rows.append(_checked(one, folder.name).model_dump())
    temporary = path.with_name(path.name + ".part")
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        text = json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def check_conversation(conversation: Conversation) -> None:
    """Raise a DataError for a conversation that the format cannot hold."""
    _checked(conversation, "")


def read_words(text: str, *, where: str) -> tuple[Words, ...]:
    """The conversation that a text with chat tokens stands for. Raises DataError for one that the format cannot hold."""
    if PLACEHOLDER in text:
        raise DataError(f"{where} has a text with {PLACEHOLDER} in it, which here means a picture")
    words: list[Words] = []
    for part in text.replace(PICTURE, PLACEHOLDER).split("<|im_start|>")[1:]:
        role, _, content = part.partition("\n")
        if role not in ("system", "user", "assistant"):
            raise DataError(f"{where} has a turn of role {role!r}")
        body, end, rest = content.partition("<|im_end|>")
        if not end or rest.strip("\n"):
            raise DataError(f"{where} has a turn of role {role} without an end of its own")
        words.append(Words(role=role, content=body))
    return tuple(words)


def _checked(conversation: Conversation, folder: str) -> _Row:
    names = [f"{folder}/{ref.sha256}.png" for ref in conversation.images]
    row = _Row(messages=_messages(conversation.words), images=names)
    return _parse(row.model_dump(), where=conversation.where)


def _messages(words: Sequence[Words]) -> list[_Message]:
    return [_Message(role=one.role, content=one.content) for one in words]


def _rows(path: Path) -> Iterator[tuple[int, object]]:
    """(number from 1, row) of an array or of lines."""
    body = path.read_bytes()
    hint = "write an array of conversations or one per line"
    if body.lstrip().startswith(b"["):
        try:
            yield from enumerate(json.loads(body), start=1)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not JSON: {error}; {hint}") from error
        return
    for number, line in enumerate(body.split(b"\n"), start=1):  # a text may hold other line ends
        try:
            if line.strip():
                yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not JSON: {error}; {hint}") from error


def _parse(raw: object, *, where: str) -> _Row:
    try:
        row = _Row.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the row"
        raise DataError(
            f'{where}: {field}: {first["msg"]}; write "messages": [{{"role": "system" | "user" | "assistant", '
            f'"content": text}}] and "images": [path]'
        ) from error
    _check_order(row, where=where)
    for index, message in enumerate(row.messages):
        if writable(message.content) != message.content:
            raise DataError(
                f"{where}: messages[{index}].content holds half of an escaped character (\\ud800 to \\udfff alone), which "
                "no text may; write both halves or leave it out"
            )
        token = next((token for token in SPECIAL_TOKENS if token in message.content), None)
        if token is not None:
            hint = f"write {PLACEHOLDER} for a picture" if token in PICTURE else "remove it, the chat format adds it"
            raise DataError(f"{where}: messages[{index}].content holds {token}; {hint}")
        if message.role == "assistant" and PLACEHOLDER in message.content:
            raise DataError(
                f"{where}: messages[{index}].content: the assistant cannot show a picture; move {PLACEHOLDER} to a user message"
            )
    count = sum(message.content.count(PLACEHOLDER) for message in row.messages)
    if count != len(row.images):
        raise DataError(
            f"{where}: {count} {PLACEHOLDER} in the messages and {len(row.images)} paths in images; write one for each"
        )
    return row


def _check_order(row: _Row, *, where: str) -> None:
    for index, (before, message) in enumerate(zip([None, *row.messages], row.messages, strict=False)):
        if message.role == "system" and before is not None:
            raise DataError(f"{where}: messages[{index}]: a system message comes first or not at all")
        if message.role == "assistant" and (before is None or before.role == "assistant"):
            raise DataError(
                f"{where}: messages[{index}]: an assistant message follows a user message; put one before it"
            )
    if row.messages[-1].role != "assistant":
        raise DataError(
            f"{where}: the last message is of role {row.messages[-1].role}, so nothing is learned from it; "
            "end with an assistant message"
        )


def _picture(path: Path, rules: PictureRules, *, where: str) -> ImageRef:
    try:
        return rules.store.put(_fitted(open_picture(path), max_pixels=rules.max_pixels))
    except FileNotFoundError as error:
        raise DataError(f"{where}: there is no file {path}; paths are relative to the file's folder") from error
    except BAD_PICTURE as error:
        raise DataError(f"{where}: {path} is not a picture that can be read ({error}); replace it") from error


def _fitted(image: Image.Image, *, max_pixels: int) -> Image.Image:
    """Within the budget, both sides multiples of 32 px, so that no image processor resizes it; else unchanged."""
    width_px, height_px = image.size
    if width_px * height_px <= max_pixels and not (width_px % PATCH_PX or height_px % PATCH_PX):
        return image
    scale = min(1.0, math.sqrt(max_pixels / (width_px * height_px)))
    sides = [max(PATCH_PX, round(side * scale / PATCH_PX) * PATCH_PX) for side in image.size]
    while sides[0] * sides[1] > max_pixels and max(sides) > PATCH_PX:
        sides[sides.index(max(sides))] -= PATCH_PX
    return image.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)


def _sample(row: _Row, images: Sequence[ImageRef], *, renderer: Renderer, where: str) -> Sample:
    token_ids: list[int] = []
    loss_mask: list[bool] = []
    context = ""
    for message in row.messages:
        if message.role != "assistant":
            context += f"<|im_start|>{message.role}\n{message.content.replace(PLACEHOLDER, PICTURE)}<|im_end|>\n"
            continue
        shown = renderer.encode_own(context + "<|im_start|>assistant\n")
        said = renderer.encode_completion(message.content)
        token_ids += [*shown, *said]
        loss_mask += [False] * len(shown) + [True] * len(said)
        context = "\n"
    if token_ids.count(renderer.picture_id) != len(images):
        raise DataError(f"{where}: {token_ids.count(renderer.picture_id)} picture tokens for {len(images)} pictures")
    return Sample(
        token_ids=tuple(token_ids),
        loss_mask=tuple(loss_mask),
        logprobs=(0.0,) * len(token_ids),
        images=tuple(images),
        advantage=1.0,
    )
