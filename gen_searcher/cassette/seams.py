"""The seams with a cassette in them: each wraps an implementation of a protocol and is one."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from PIL import Image
from pydantic import JsonValue, TypeAdapter

from gen_searcher.cassette.tape import Identity, JsonCodec, Question, Tape
from gen_searcher.errors import GeneratorError
from gen_searcher.image_store import picture_ref
from gen_searcher.protocols import (
    ImageModel,
    ImageSearchProvider,
    Judge,
    PageReader,
    SearchProvider,
    Summarizer,
)
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.http import Fetched, Gone, PictureSource
from gen_searcher.tools.limited import close
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory
from gen_searcher.web import Hit, ImageHit, Page, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A page, or that there is none, or why it was not taken: all three are answers that the policy reads."""

    page: Page | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """What is known of a download beside its bytes, or why it was not taken."""

    url: str = ""
    content_type: str = ""
    charset: str | None = None
    refused: str | None = None
    is_gone: bool = False


_HITS: JsonCodec[list[Hit]] = JsonCodec(list[Hit])
_IMAGE_HITS: JsonCodec[list[ImageHit]] = JsonCodec(list[ImageHit])
_READ: JsonCodec[_Read] = JsonCodec(_Read)
_HEAD: JsonCodec[_Head] = JsonCodec(_Head)
_SUMMARY: JsonCodec[Summary] = JsonCodec(Summary)
_JUDGEMENT: JsonCodec[Judgement] = JsonCodec(Judgement)
_TASK = TypeAdapter(Task)
_TRAJECTORY = TypeAdapter(Trajectory)


class TapedSearch:
    """A `SearchProvider` on tape."""

    def __init__(self, provider: SearchProvider, tape: Tape, who: Identity) -> None:
        """`who` is the provider's."""
        self._provider = provider
        self._tape = tape
        self._who = who

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """See `Tape.answer`."""
        question = Question(kind="search", who=self._who, request={"query": query, "limit": limit})
        return await self._tape.answer(question, lambda: self._provider.search(query, limit=limit), _HITS)

    async def close(self) -> None:
        """Close the provider."""
        await close(self._provider)


class TapedImageSearch:
    """An `ImageSearchProvider` on tape."""

    def __init__(self, provider: ImageSearchProvider, tape: Tape, who: Identity) -> None:
        """`who` is the provider's."""
        self._provider = provider
        self._tape = tape
        self._who = who

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """See `Tape.answer`."""
        question = Question(kind="image_search", who=self._who, request={"query": query, "limit": limit})
        return await self._tape.answer(question, lambda: self._provider.search_images(query, limit=limit), _IMAGE_HITS)

    async def close(self) -> None:
        """Close the provider."""
        await close(self._provider)


class TapedReader:
    """A `PageReader` on tape."""

    def __init__(self, reader: PageReader, tape: Tape, who: Identity) -> None:
        """`who` is the reader's."""
        self._reader = reader
        self._tape = tape
        self._who = who

    async def read(self, url: str) -> Page | None:
        """See `Tape.answer`; raises Refused as the reader did."""

        async def ask() -> _Read:
            try:
                return _Read(page=await self._reader.read(url))
            except Refused as refused:
                return _Read(refused=refused.reason)

        read = await self._tape.answer(Question(kind="page", who=self._who, request={"url": url}), ask, _READ)
        if read.refused is not None:
            raise Refused(read.refused)
        return read.page

    async def close(self) -> None:
        """Close the reader."""
        await close(self._reader)


class TapedSummarizer:
    """A `Summarizer` on tape."""

    def __init__(self, summarizer: Summarizer, tape: Tape, who: Identity) -> None:
        """`who` is the summarizer's."""
        self._summarizer = summarizer
        self._tape = tape
        self._who = who

    async def summarize(self, page: Page, *, query: str) -> Summary:
        """See `Tape.answer`; what is replayed costs nothing."""
        paid: list[Summary] = []

        async def ask() -> Summary:
            paid.append(await self._summarizer.summarize(page, query=query))
            return paid[0]

        digest = hashlib.sha256(f"{page.title}\0{page.text}".encode("utf-8", "surrogatepass")).hexdigest()
        question = Question(
            kind="summary", who=self._who, request={"url": page.url, "page_sha256": digest, "query": query}
        )
        summary = await self._tape.answer(question, ask, _SUMMARY)
        return summary if paid else replace(summary, cost_usd=0.0)

    async def close(self) -> None:
        """Close the summarizer."""
        await close(self._summarizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    head: _Head
    body: bytes = b""


class _LoadedCodec:
    """One line of JSON, then the bytes as they came."""

    def encode(self, value: _Loaded) -> bytes:
        return _HEAD.encode(value.head) + b"\n" + value.body

    def decode(self, body: bytes) -> _Loaded:
        head, _, rest = body.partition(b"\n")
        return _Loaded(head=_HEAD.decode(head), body=rest)


class TapedPictures:
    """A `PictureSource` on tape."""

    def __init__(self, source: PictureSource, tape: Tape, who: Identity) -> None:
        """`who` stands for the fetcher's settings."""
        self._source = source
        self._tape = tape
        self._who = who

    async def get(self, url: str, *, stage: str, types: Sequence[str]) -> Fetched:
        """See `Tape.answer`; raises Refused as the fetcher did."""

        async def ask() -> _Loaded:
            try:
                fetched = await self._source.get(url, stage=stage, types=types)
            except Refused as refused:
                return _Loaded(head=_Head(refused=refused.reason, is_gone=isinstance(refused, Gone)))
            head = _Head(url=fetched.url, content_type=fetched.content_type, charset=fetched.charset)
            return _Loaded(head=head, body=fetched.body)

        request: dict[str, JsonValue] = {"url": url, "types": list[JsonValue](sorted(types))}
        loaded = await self._tape.answer(Question(kind="picture", who=self._who, request=request), ask, _LoadedCodec())
        head = loaded.head
        if head.refused is not None:
            raise (Gone if head.is_gone else Refused)(head.refused)
        return Fetched(url=head.url, content_type=head.content_type, charset=head.charset, body=loaded.body)

    async def close(self) -> None:
        """Close the source."""
        await close(self._source)


class PngCodec:
    """A picture without loss."""

    def encode(self, value: Image.Image) -> bytes:
        """As PNG; anything but a picture raises GeneratorError."""
        if not isinstance(value, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance] - a plug may be untyped
            raise GeneratorError(f"the image model returned {type(value).__name__}, not a PIL image")
        buffer = io.BytesIO()
        value.convert("RGB").save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()

    def decode(self, body: bytes) -> Image.Image:
        """As RGB. Raises ValueError."""
        try:
            with Image.open(io.BytesIO(body), formats=["PNG"]) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise ValueError(f"no PNG: {error}") from error


class TapedImageModel:
    """An `ImageModel` on tape. A tape asks one by one: what draws in batches has to gather them inside (`Batcher`)."""

    def __init__(self, model: ImageModel, tape: Tape, who: Identity) -> None:
        """`who` is the model's."""
        self._model = model
        self._tape = tape
        self._who = who

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """See `Tape.answer`."""
        if not self._tape.keeps("drawing"):  # hashing large references is work that nobody would look at
            return await self._tape.outside("drawing", lambda: self._model.draw(prompt, references, seed=seed))
        digests = await asyncio.to_thread(lambda: [picture_ref(reference).sha256 for reference in references])
        request: dict[str, JsonValue] = {"prompt": prompt, "references": list(digests), "seed": seed}
        question = Question(kind="drawing", who=self._who, request=request)
        return await self._tape.answer(question, lambda: self._model.draw(prompt, references, seed=seed), PngCodec())

    async def close(self) -> None:
        """Close the model."""
        await close(self._model)


class TapedJudge:
    """A `Judge` on tape."""

    def __init__(self, judge: Judge, tape: Tape, who: Identity) -> None:
        """`who` is the judge's."""
        self._judge = judge
        self._tape = tape
        self._who = who

    @property
    def name(self) -> str:
        """Of the judge inside."""
        return self._judge.name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """See `Tape.answer`; a verdict that is replayed costs nothing."""
        if not self._tape.keeps("judgement"):
            return await self._tape.outside("judgement", lambda: self._judge.judge(task, trajectory, image))
        paid: list[Judgement] = []

        async def ask() -> Judgement:
            paid.append(await self._judge.judge(task, trajectory, image))
            return paid[0]

        request: dict[str, JsonValue] = {
            "judge": self.name,
            "task": cast("JsonValue", _TASK.dump_python(task, mode="json")),
            "trajectory": cast("JsonValue", _TRAJECTORY.dump_python(trajectory, mode="json")),
            "image": None if image is None else image.sha256,
        }
        judgement = await self._tape.answer(Question(kind="judgement", who=self._who, request=request), ask, _JUDGEMENT)
        return judgement if paid else replace(judgement, cost_usd=0.0)

    async def close(self) -> None:
        """Close the judge."""
        await close(self._judge)
