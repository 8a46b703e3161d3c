"""Does the picture show the facts? KnowGen's four dimensions, asked of a vision-language model.

The picture is judged against the *original* request and beside the ground truth. What the policy wrote is not shown:
its words cannot reach this judge.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from gen_searcher.config.rewards import ChatServer
from gen_searcher.errors import JudgeUnable
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.chat.client import ChatClient
from gen_searcher.rewards.chat.pictures import Pictures
from gen_searcher.rewards.chat.question import Question, load_prompt, quoted
from gen_searcher.rewards.chat.verdicts import IMAGE_SCHEMA, read_image_verdict
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.rewards.verdict import k_score
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory

First = Literal["drawing", "truth"]
"""Which picture comes first. `drawing` is the benchmark's order. `truth` lets a server with a prefix cache read the
ground truth once for all attempts at a task."""

_TOLD = {
    "drawing": "Picture 1 is the drawing. Picture 2 is the ground truth.",
    "truth": "Picture 1 is the ground truth. Picture 2 is the drawing.",
}


class ChatImageJudge:
    """Scores pictures by asking a chat-completions server."""

    name = IMAGE

    def __init__(self, *, store: ImageStore, server: ChatServer, first: First = "drawing") -> None:
        """`server` is who is asked; `first` is the order of the two pictures."""
        self._setup(Pictures(store, max_side_px=server.max_side_px), ChatClient(server), first)

    def _setup(self, pictures: Pictures, client: ChatClient, first: First) -> None:
        self._pictures = pictures
        self._client = client
        self._first: First = first
        self._prompt = load_prompt("image", schema=IMAGE_SCHEMA, shape=f"first={first}")

    def swapped(self) -> ChatImageJudge:
        """The same judge with the two pictures in the other order; it shares the connections."""
        other = ChatImageJudge.__new__(ChatImageJudge)
        other._setup(self._pictures, self._client, "truth" if self._first == "drawing" else "drawing")
        return other

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Ask about the picture. Raises JudgeError without a verdict, JudgeGone when there will never be one."""
        del trajectory
        if image is None:
            raise ValueError(f"task {task.id}: the image judge was given no picture")
        if task.target is None:
            raise JudgeUnable(f"task {task.id} has no ground-truth picture to judge by")
        drawing, truth = await asyncio.gather(self._pictures.get(image), self._pictures.get_kept(task.target))
        shown = [drawing, truth] if self._first == "drawing" else [truth, drawing]
        question = Question(
            system=self._prompt.text,
            parts=[
                f"<request>{quoted(task.prompt)}</request>\n{_TOLD[self._first]}",
                *shown,
                "Give your verdict on the drawing.",
            ],
            name="picture_verdict",
            schema=IMAGE_SCHEMA,
        )
        answer = await self._client.ask(question, read_image_verdict)
        return answer.judgement(
            self.name,
            score=k_score(answer.verdict.parts),
            parts=answer.verdict.parts,
            rationale=answer.verdict.rationale,
            prompt_sha256=self._prompt.sha256,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
