"""Does the picture show what the request means? WISE's two questions, asked of a vision-language model.

The model sees the request, the benchmark's explanation of it, and one picture; there is no ground-truth picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from gen_searcher.config.rewards import ChatServer
from gen_searcher.errors import JudgeInvalid, JudgeUnable
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.chat.client import ChatClient
from gen_searcher.rewards.chat.pictures import Pictures
from gen_searcher.rewards.chat.question import Question, load_prompt, quoted
from gen_searcher.rewards.chat.verdicts import complaint, schema
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory

WISCORE: Mapping[str, float] = {"consistency": 0.7, "realism": 0.2, "aesthetic_quality": 0.1}
"""Shares of the legacy score."""
_GRADE: Mapping[str, object] = {"type": "integer", "enum": [0, 1, 2]}


@dataclass(frozen=True, slots=True, kw_only=True)
class WiseVerdict:
    """What a picture earned."""

    rationale: str
    parts: Mapping[str, float]
    """Each 0 to 1."""
    score: float
    """0 to 1."""


def _within(top: int) -> Callable[[int], int]:
    def check(value: int) -> int:
        if not 0 <= value <= top:
            raise ValueError(f"must be 0 to {top}")
        return value

    return check


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    rationale: str


class _Legacy(_Strict):
    consistency: Annotated[int, AfterValidator(_within(2))]
    realism: Annotated[int, AfterValidator(_within(2))]
    aesthetic_quality: Annotated[int, AfterValidator(_within(2))]


class _Verified(_Strict):
    score: Annotated[int, AfterValidator(_within(1))]


def read_legacy(text: str) -> WiseVerdict:
    """Reply text to verdict. Raises JudgeInvalid."""
    try:
        wire = _Legacy.model_validate_json(text)
    except ValidationError as error:
        raise JudgeInvalid(complaint(error)) from error
    parts = {
        "consistency": wire.consistency / 2,
        "realism": wire.realism / 2,
        "aesthetic_quality": wire.aesthetic_quality / 2,
    }
    score = sum(share * parts[name] for name, share in WISCORE.items())
    return WiseVerdict(rationale=wire.rationale, parts=parts, score=score)


def read_verified(text: str) -> WiseVerdict:
    """Reply text to verdict. Raises JudgeInvalid."""
    try:
        wire = _Verified.model_validate_json(text)
    except ValidationError as error:
        raise JudgeInvalid(complaint(error)) from error
    return WiseVerdict(rationale=wire.rationale, parts={"score": float(wire.score)}, score=float(wire.score))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One convention's question."""

    prompt: str
    schema: Mapping[str, object]
    read: Callable[[str], WiseVerdict]


_ASKED: Mapping[str, _Asked] = {
    "legacy": _Asked(
        prompt="wise_legacy",
        schema=schema(rationale={"type": "string"}, **dict.fromkeys(WISCORE, _GRADE)),
        read=read_legacy,
    ),
    "verified": _Asked(
        prompt="wise_verified",
        schema=schema(rationale={"type": "string"}, score={"type": "integer", "enum": [0, 1]}),
        read=read_verified,
    ),
}


class ChatWiseJudge:
    """Scores pictures of WISE's requests by asking a chat-completions server."""

    name = IMAGE

    def __init__(self, *, store: ImageStore, server: ChatServer, convention: Literal["legacy", "verified"]) -> None:
        """`server` is who is asked; the conventions' figures are not comparable."""
        self._pictures = Pictures(store, max_side_px=server.max_side_px)
        self._client = ChatClient(server)
        self._asked = _ASKED[convention]
        self._prompt = load_prompt(self._asked.prompt, schema=self._asked.schema, shape=convention)

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Ask about the picture. Raises JudgeError without a verdict, JudgeGone when there will never be one."""
        del trajectory
        if image is None:
            raise ValueError(f"task {task.id}: the WISE judge was given no picture")
        if not task.facts.explanation:
            raise JudgeUnable(f"task {task.id} has no explanation to judge by")
        question = Question(
            system=self._prompt.text,
            parts=[
                f"<request>{quoted(task.prompt)}</request>\n<key>{quoted(task.facts.explanation)}</key>",
                await self._pictures.get(image),
            ],
            name="wise_verdict",
            schema=self._asked.schema,
        )
        answer = await self._client.ask(question, self._asked.read)
        return answer.judgement(
            self.name,
            score=answer.verdict.score,
            parts=answer.verdict.parts,
            rationale=answer.verdict.rationale,
            prompt_sha256=self._prompt.sha256,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
