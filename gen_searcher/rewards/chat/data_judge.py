"""Is a row good enough to learn from? Six scores of the data pipeline, asked of a vision-language model in one question.

Unlike the reward's judges it sees everything: the request, what a right picture shows if anybody wrote it down, what the
agent answered, and the picture. There is no ground truth beside it: this picture is about to become one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from gen_searcher.config.rewards import ChatServer
from gen_searcher.errors import JudgeInvalid
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.chat.client import ChatClient
from gen_searcher.rewards.chat.pictures import Pictures
from gen_searcher.rewards.chat.question import Question, load_prompt, quoted
from gen_searcher.rewards.chat.verdicts import IMAGE_LEVELS, complaint, schema
from gen_searcher.types import Grounding, ImageRef, Judgement, Task, Trajectory

_LEVEL: Mapping[str, object] = {"type": "number", "enum": [0, 0.5, 1]}
_LEVEL_OR_NONE: Mapping[str, object] = {"type": ["number", "null"], "enum": [0, 0.5, 1, None]}
DATA_SCHEMA = schema(
    rationale={"type": "string"},
    needs_search=_LEVEL,
    correctness=_LEVEL,
    faithfulness=_LEVEL,
    aesthetics=_LEVEL,
    legibility=_LEVEL_OR_NONE,
    safety=_LEVEL,
)


def _level(value: float) -> float:
    if value not in IMAGE_LEVELS:
        raise ValueError(f"must be one of {IMAGE_LEVELS}")
    return value


Level = Annotated[float, AfterValidator(_level)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    rationale: str
    needs_search: Level
    correctness: Level
    faithfulness: Level
    aesthetics: Level
    legibility: Level | None
    safety: Level


class ChatDataJudge:
    """Scores rows by asking a chat-completions server."""

    name = "data"

    def __init__(self, *, store: ImageStore, server: ChatServer) -> None:
        """`server` is who is asked."""
        self._pictures = Pictures(store, max_side_px=server.max_side_px)
        self._client = ChatClient(server)
        self._prompt = load_prompt("data", schema=DATA_SCHEMA, shape="")

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Ask about the row; the score is the lowest of the six. Raises JudgeError without a verdict, or JudgeGone."""
        if image is None or trajectory.grounding is None:
            raise ValueError(f"task {task.id}: the data judge was given no picture or no grounding")
        question = Question(
            system=self._prompt.text,
            parts=[
                f"<row>{quoted(_row(task, trajectory.grounding))}</row>\nThe next picture was drawn from that answer.",
                await self._pictures.get(image),
                "Give your verdict on the row.",
            ],
            name="row_verdict",
            schema=DATA_SCHEMA,
        )
        answer = await self._client.ask(question, _read)
        parts: dict[str, float | None] = answer.verdict.model_dump(exclude={"rationale"})
        return answer.judgement(
            self.name,
            score=min(score for score in parts.values() if score is not None),
            parts=parts,
            rationale=answer.verdict.rationale,
            prompt_sha256=self._prompt.sha256,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _row(task: Task, grounding: Grounding) -> dict[str, object]:
    """What is told of a row."""
    return {
        "request": task.prompt,
        "category": task.meta.get("category", ""),
        "a right picture shows": task.facts.explanation or [subject.name for subject in task.facts.subjects],
        "text it must carry": task.facts.caption,
        "answer": {
            "prompt": grounding.gen_prompt,
            "references": [
                {"title": one.title, "note": one.note, "page": one.page_url} for one in grounding.references
            ],
        },
    }


def _read(text: str) -> _Wire:
    try:
        return _Wire.model_validate_json(text)
    except ValidationError as error:
        raise JudgeInvalid(complaint(error)) from error
