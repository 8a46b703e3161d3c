"""A chat-completions server on loopback: real HTTP, the protocol's own shapes, answers from a function.

The shapes (completion, refusal, error body) are those that OpenAI's API and vLLM's server send.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web
from PIL import Image

from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.golden.agreement import nearest_level
from gen_searcher.rewards.golden.calibration import IMAGE_LEVELS
from gen_searcher.rewards.golden.cases import attempt, golden_set
from gen_searcher.rewards.offline.image_judge import OfflineImageJudge
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.types import Grounding, ImageRef, Outcome, Reference, Task, Trajectory

_REQUEST = re.compile(r"<request>(.*?)</request>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_NOWHERE = ImageRef(sha256="0" * 64, width_px=1, height_px=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One request as the server got it."""

    body: Mapping[str, Any]
    """The JSON as it came."""
    authorization: str
    """The header; empty without one."""

    @property
    def parts(self) -> list[Mapping[str, Any]]:
        """Of the user's message."""
        return cast("list[Mapping[str, Any]]", self.body["messages"][1]["content"])

    @property
    def text(self) -> str:
        """All text parts of the user's message."""
        return "\n".join(str(part["text"]) for part in self.parts if part["type"] == "text")

    @property
    def pictures(self) -> list[Image.Image]:
        """All pictures of the user's message, in order."""
        urls = [str(part["image_url"]["url"]) for part in self.parts if part["type"] == "image_url"]
        return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB") for url in urls]

    @property
    def schema_name(self) -> str:
        """What kind of verdict is asked for."""
        return str(self.body["response_format"]["json_schema"]["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What the server sends."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Model = Callable[[ChatRequest], Awaitable[ChatReply]]


class LocalChatServer:
    """`POST /v1/chat/completions` on a free port; `requests` keeps what was asked."""

    def __init__(self, model: Model) -> None:
        """`model` answers."""
        self._model = model
        self._runner: web.AppRunner | None = None
        self.requests: list[ChatRequest] = []
        self.base_url = ""

    async def __aenter__(self) -> LocalChatServer:
        """Listen; `base_url` is set afterwards."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = ChatRequest(body=await request.json(), authorization=request.headers.get("Authorization", ""))
        self.requests.append(asked)
        reply = await self._model(asked)
        return web.Response(
            text=reply.body, status=reply.status, headers=reply.headers, content_type="application/json"
        )


def completion(
    content: str | None,
    *,
    refusal: str | None = None,
    finish_reason: str = "stop",
    model: str = "local-judge-2026-11-01",
    prompt_tokens: int = 1200,
    cached_tokens: int = 0,
    completion_tokens: int = 80,
) -> ChatReply:
    """A completion as it is sent with status 200."""
    message: dict[str, object] = {"role": "assistant", "content": content, "refusal": refusal, "annotations": []}
    body: dict[str, object] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1793491200,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": cached_tokens, "audio_tokens": 0},
        },
        "system_fingerprint": "fp_local",
    }
    return ChatReply(body=json.dumps(body))


def problem(
    status: int, *, code: str | int | None, message: str, headers: Mapping[str, str] | None = None
) -> ChatReply:
    """An error body."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return ChatReply(body=json.dumps(body), status=status, headers={} if headers is None else headers)


class GoldenModel:
    """Answers questions about the golden set as a sound model would: it looks at the pictures and reads the answer.

    Its eyes are the offline judges. It is given what the wire carries and nothing else, so a judge that sends the
    wrong picture, the wrong order or a damaged answer is found out.
    """

    def __init__(self, store: ImageStore) -> None:
        """`store` holds the ground truths that the facts are known of."""
        self._image = OfflineImageJudge(store=store)
        self._text = OfflineTextJudge(store=store)
        self._tasks = {one.task.prompt: one.task for one in (attempt(case, store) for case in golden_set().cases)}

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """The verdict as JSON, or status 400 for a request that is about no golden case."""
        asked = _REQUEST.search(request.text)
        task = self._tasks.get(str(json.loads(asked[1]))) if asked is not None else None
        if task is None:
            return problem(400, code="unknown_task", message="this model knows the golden set only")
        if request.schema_name == "picture_verdict":
            return completion(json.dumps(self._picture(task, request)))
        return completion(json.dumps(await self._grounding(task, request)))

    def _picture(self, task: Task, request: ChatRequest) -> dict[str, object]:
        drawing = request.pictures[0 if "Picture 1 is the drawing" in request.text else 1]
        parts = self._image.verdict(task, drawing).parts
        levels = {name: None if value is None else nearest_level(value, IMAGE_LEVELS) for name, value in parts.items()}
        return {"rationale": "As measured.", **levels}

    async def _grounding(self, task: Task, request: ChatRequest) -> dict[str, object]:
        found = _ANSWER.search(request.text)
        if found is None:
            return {"rationale": "There is no answer.", "score": 0}
        answer = json.loads(found[1])
        references = tuple(
            Reference(
                img_id="",
                note=ref["note"],
                title=ref["title"],
                url=ref["url"],
                page_url=ref["page_url"],
                image=_NOWHERE,
            )
            for ref in answer["references"]
        )
        grounding = Grounding(gen_prompt=answer["gen_prompt"], references=references)
        trajectory = Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding)
        judgement = await self._text.judge(task, trajectory, None)
        return {"rationale": judgement.rationale, "score": judgement.score}
