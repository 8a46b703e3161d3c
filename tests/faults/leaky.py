"""Somebody else's classes that are careless with their keys: they log them, repeat them in answers and raise them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NoReturn

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from PIL import Image
from yarl import URL

from gen_searcher.config.secrets import Secret
from gen_searcher.errors import GeneratorRefused
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.trackers.run_info import RunInfo
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory
from gen_searcher.web import Hit, ImageHit

log = logging.getLogger(__name__)


class Leak:
    """What all of them do."""

    def __init__(self, *, key: Secret, way: str = "answers") -> None:
        """`way` is `answers`, or how it fails."""
        self.secret = key
        self.way = way

    def key(self) -> str:
        """It, which it tells the log as well."""
        key = self.secret.reveal()
        log.warning("asking https://user:%s@api.test/ with %r", key, {"Authorization": f"Bearer {key}"})
        if self.way != "answers":
            self.fail(key)
        return key

    def fail(self, key: str) -> NoReturn:
        """Raise it."""
        if self.way == "in a chain":
            try:
                raise ValueError({"headers": {"x-api-key": key}})
            except ValueError as error:
                log.exception("no answer for %s", key)
                raise RuntimeError(f"GET {URL('https://api.test/').with_query(key=key)} failed") from error
        if self.way == "in the library's objects":
            url = URL("https://api.test/").with_query(key=key)
            headers = CIMultiDictProxy(CIMultiDict({"Authorization": key}))
            asked = aiohttp.RequestInfo(url=url, method="GET", headers=headers, real_url=url)
            raise aiohttp.ClientResponseError(asked, (), status=400, message=key)
        raise KeyError(key)


class LeakySearch(Leak):
    """A `SearchProvider` and an `ImageSearchProvider`."""

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """What was asked, with the key in it."""
        key = self.key()
        url = str(URL("http://a.test/").with_query(key=key))
        return [Hit(title=f"For {key}", url=url, snippet=f'{{"you sent": "{key}"}}')]

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Nothing."""
        return []


class LeakyModel(Leak):
    """An `ImageModel`."""

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """A picture; some prompts it refuses, with the key."""
        key = self.key()
        if seed % 2:
            raise GeneratorRefused(f"content policy, asked by {key}")
        return Image.new("RGB", (32, 32), "red")


class LeakyJudge(Leak):
    """A `Judge`."""

    name = "text"

    def __init__(self, *, store: ImageStore, key: Secret, way: str = "answers") -> None:
        """As a judge is built."""
        super().__init__(key=key, way=way)

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Half."""
        key = self.key()
        return Judgement(
            judge="text",
            score=0.5,
            parts={},
            rationale=f"Asked by {key}.",
            model=f"m-{key}",
            prompt_sha256="0" * 64,
            latency_s=0.0,
        )


class LeakyTracker(Leak):
    """A `Tracker`."""

    def __init__(self, *, run: RunInfo, key: Secret, way: str = "answers") -> None:
        """As a tracker is built."""
        super().__init__(key=key, way=way)
        self.run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Say so."""
        self.key()

    def close(self) -> None:
        """Nothing."""


class CannotBeBuilt(Leak):
    """Tries its key in the constructor."""

    def __init__(self, *, key: Secret, way: str = "in a chain") -> None:
        """Raises."""
        super().__init__(key=key, way=way)
        self.key()
