"""Does the grounding hold the facts? Would a perfect image model reach the ground truth from it?

The one judge that reads what the policy wrote. Its words are handed over as quoted JSON between tags that they cannot
close, after everything that is ours; page text is never shown.
"""

from __future__ import annotations

import asyncio

from gen_searcher.config.rewards import ChatServer
from gen_searcher.errors import JudgeUnable
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.chat.client import ChatClient
from gen_searcher.rewards.chat.pictures import Pictures
from gen_searcher.rewards.chat.question import Picture, Question, load_prompt, quoted
from gen_searcher.rewards.chat.verdicts import TEXT_SCHEMA, read_text_verdict
from gen_searcher.rewards.compose import TEXT
from gen_searcher.types import Grounding, ImageRef, Judgement, Task, Trajectory


class ChatTextJudge:
    """Scores groundings by asking a chat-completions server."""

    name = TEXT

    def __init__(self, *, store: ImageStore, server: ChatServer, reference_pictures: int = 0) -> None:
        """`reference_pictures`: how many of the references' pictures are shown, 0 = their titles and notes only."""
        self._pictures = Pictures(store, max_side_px=server.max_side_px)
        self._client = ChatClient(server)
        self._shown = reference_pictures
        self._prompt = load_prompt("text", schema=TEXT_SCHEMA, shape=f"reference_pictures={reference_pictures}")

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Ask about the grounding; the drawing is not shown. Raises JudgeError without a verdict, or JudgeGone."""
        del image
        grounding = trajectory.grounding
        if grounding is None:
            raise ValueError(f"task {task.id}: the text judge was given a trajectory without a grounding")
        if task.target is None:
            raise JudgeUnable(f"task {task.id} has no ground-truth picture to judge by")
        truth, *references = await asyncio.gather(
            self._pictures.get_kept(task.target),
            *(self._pictures.get(reference.image) for reference in grounding.references[: self._shown]),
        )
        question = Question(
            system=self._prompt.text,
            parts=[
                f"<request>{quoted(task.prompt)}</request>\nThe next picture is the ground truth.",
                truth,
                f"<answer>{quoted(_answer(grounding))}</answer>",
                *_introduced(references),
                "Give your verdict on the answer.",
            ],
            name="grounding_verdict",
            schema=TEXT_SCHEMA,
        )
        answer = await self._client.ask(question, read_text_verdict)
        return answer.judgement(
            self.name,
            score=answer.verdict.score,
            parts={},
            rationale=answer.verdict.rationale,
            prompt_sha256=self._prompt.sha256,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _answer(grounding: Grounding) -> dict[str, object]:
    """The policy's answer as JSON."""
    return {
        "gen_prompt": grounding.gen_prompt,
        "references": [
            {
                "number": number,
                "title": reference.title,
                "note": reference.note,
                "url": reference.url,
                "page_url": reference.page_url,
            }
            for number, reference in enumerate(grounding.references, start=1)
        ],
    }


def _introduced(references: list[Picture]) -> list[str | Picture]:
    """Each reference's picture after a line that says which one it is."""
    parts: list[str | Picture] = []
    for number, picture in enumerate(references, start=1):
        parts += [f"The next picture is reference {number} of the answer.", picture]
    return parts
