"""The agent: one task -> turns -> one trajectory.

    opening -> completion -> call -> observation -> completion -> ... -> answer [-> its picture -> keep or answer]

Token ids go in and token ids come out. What was sampled is never tokenized again: the context of a turn is exactly
the concatenation of all turns' prompt and completion tokens before it, which is also what the learner sees.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from gen_searcher.agent import budget
from gen_searcher.agent.decide import Correct, Finish, Situation, decide
from gen_searcher.agent.gallery import Gallery
from gen_searcher.agent.parse import ANSWER_FORM, Mistake, parse
from gen_searcher.agent.prompt import system_prompt
from gen_searcher.agent.render import Own, Picture, Renderer
from gen_searcher.agent.revision import LOOK, decide_revision, shown_before
from gen_searcher.config.agent import AgentConfig
from gen_searcher.context import context_tokens, stretch_tokens
from gen_searcher.errors import DataError
from gen_searcher.protocols import PolicyEngine, Tools
from gen_searcher.types import (
    Completion,
    FoundImage,
    ImageRef,
    Outcome,
    Prompt,
    Sampling,
    Task,
    ToolKind,
    ToolResult,
    Trajectory,
    Turn,
)
from gen_searcher.types import Finish as EndOfCompletion

ANSWER_NOW = Own(f"\nno more steps are left. Answer now: {ANSWER_FORM}")
"""Told to the policy before its last turn."""

NO_ROOM = "the result is too long for what is left of your context."
"""Told instead of a result that would leave no room for an answer."""

NOT_SHOWN = "Not shown: the last {unseen} of these pictures, because {most} of {most} are shown already."
"""Told below the names of pictures that the engine takes no more of. They can be cited by their ids like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delta:
    """What the policy reads next."""

    token_ids: tuple[int, ...]
    images: tuple[ImageRef, ...] = ()
    spent: Outcome | None
    """The budget that makes the next turn the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Progress:
    """Where a trajectory stands between two turns."""

    turns: tuple[Turn, ...] = ()
    gallery: Gallery = field(default_factory=Gallery)
    tool_calls: int = 0

    @property
    def spent(self) -> budget.Spent:
        tokens = context_tokens(self.turns)
        return budget.Spent(
            turns=len(self.turns),
            tool_calls=self.tool_calls,
            context_tokens=tokens,
            pictures=sum(len(turn.images) for turn in self.turns),
        )

    def prompt(self, delta: _Delta) -> Prompt:
        """The whole context of the next completion."""
        stretches = [ids for turn in self.turns for ids in (turn.prompt_ids, turn.completion_ids)]
        images = [image for turn in self.turns for image in turn.images]
        return Prompt(token_ids=tuple(chain(*stretches, delta.token_ids)), images=(*images, *delta.images))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Next:
    """A trajectory after a turn, and what the policy reads then; None when nothing fits any more."""

    progress: _Progress
    delta: _Delta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A turn, read."""

    turn: Turn
    text: str
    is_cut: bool


class Agent:
    """Implements `Searcher` with a policy engine and tools."""

    def __init__(
        self,
        *,
        engine: PolicyEngine,
        tools: Tools,
        renderer: Renderer,
        config: AgentConfig,
        max_images: int | None = None,
        max_prompt_chars: int | None = None,
    ) -> None:
        """Make an agent.

        Args:
            engine: The policy.
            tools: What it may call.
            renderer: Speaks the tokenizer of the engine's policy.
            config: Budgets.
            max_images: Most pictures that the engine takes in one context; None for one that takes any number. Further
                ones are named with their ids and not shown, and the policy is told so.
            max_prompt_chars: Longest prompt that the generator takes; None for one that takes any. A longer one is a
                mistake of the policy.
        """
        self._max_prompt_chars = max_prompt_chars
        self._max_images = max_images
        self._engine = engine
        self._tools = tools
        self._renderer = renderer
        self._config = config
        self._system = system_prompt(config)

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """Work on the task until an outcome. Waits for the engine and the tools; their WorldErrors pass through."""
        after = _Next(progress=_Progress(), delta=self._opening(task))
        while after.delta is not None:
            progress, delta = after.progress, after.delta
            said = await self._say(progress, delta, seed=seed)
            turn = said.turn
            decision = decide(parse(said.text), self._situation(progress, said, spent=delta.spent))
            if isinstance(decision, Finish):
                return Trajectory(
                    task_id=task.id,
                    turns=(*progress.turns, replace(turn, call=decision.call)),
                    outcome=decision.outcome,
                    grounding=decision.grounding,
                )
            if isinstance(decision, Correct):
                after = self._corrected(progress, turn, decision.mistake)
                continue
            result = await self._tools.call(decision.call, trajectory_id=f"{task.id}:{seed}")
            after = self._observed(progress, replace(turn, call=decision.call), result)
        return Trajectory(task_id=task.id, turns=after.progress.turns, outcome=Outcome.OUT_OF_TOKENS, grounding=None)

    async def revise(self, trajectory: Trajectory, shown: ToolResult, *, seed: int) -> Trajectory:
        """Show the policy what was drawn from its answer, and let it keep the answer or hand in another.

        Args:
            trajectory: Grounded; its last turn is the answer.
            shown: The picture, one of `ToolResult.images`; it is recorded beside the answer.
            seed: What the trajectory was sampled from.

        Returns:
            The trajectory and one more turn, or as it was where its budgets, that of pictures too, leave no room for one.
        """
        first = trajectory.grounding
        if first is None:
            raise ValueError(f"task {trajectory.task_id}: there is no answer to look at")
        *earlier, answer = trajectory.turns
        turns = (*earlier, replace(answer, result=shown))
        progress = _Progress(
            turns=turns, gallery=shown_before(turns), tool_calls=sum(turn.call is not None for turn in turns)
        )
        delta = self._look(progress, shown)
        if delta is None:
            return trajectory
        said = await self._say(progress, delta, seed=seed)
        end = decide_revision(said.text, first, self._situation(progress, said, spent=delta.spent))
        return Trajectory(
            task_id=trajectory.task_id, turns=(*turns, said.turn), outcome=end.outcome, grounding=end.grounding
        )

    def _opening(self, task: Task) -> _Delta:
        token_ids = self._renderer.opening(system=self._system, task=task.prompt)
        start = budget.Spent()
        if not budget.has_room(start, self._config, tokens=len(token_ids)):
            raise DataError(
                f"task {task.id}: system prompt and request take {len(token_ids)} tokens and an answer "
                f"{self._config.answer_tokens}; agent.max_context_tokens is {self._config.max_context_tokens}"
            )
        return _Delta(token_ids=token_ids, spent=budget.spent_budget(start, self._config))

    async def _say(self, progress: _Progress, delta: _Delta, *, seed: int) -> _Said:
        asked_s = asyncio.get_running_loop().time()
        said = await self._complete(progress, delta, seed=seed)
        turn = Turn(
            prompt_ids=delta.token_ids,
            completion_ids=said.token_ids,
            logprobs=said.logprobs,
            versions=said.versions,
            log_kept=said.log_kept,
            images=delta.images,
            latency_s=asyncio.get_running_loop().time() - asked_s,
        )
        text = self._renderer.completion_text(said.token_ids)
        return _Said(turn=turn, text=text, is_cut=said.finish is EndOfCompletion.LENGTH)

    async def _complete(self, progress: _Progress, delta: _Delta, *, seed: int) -> Completion:
        spent = progress.spent
        read = stretch_tokens(len(delta.token_ids), delta.images)
        sampling = Sampling(
            max_tokens=budget.completion_tokens(
                replace(spent, context_tokens=spent.context_tokens + read), self._config
            ),
            seed=turn_seed(seed, turn=spent.turns),
            temperature=self._config.temperature,
            top_p=self._config.top_p,
            top_k=self._config.top_k,
            min_p=self._config.min_p,
        )
        return without_pictures(await self._engine.complete(progress.prompt(delta), sampling), self._renderer)

    def _situation(self, progress: _Progress, said: _Said, *, spent: Outcome | None) -> Situation:
        before = self._renderer.completion_text(progress.turns[-1].completion_ids) if progress.turns else None
        return Situation(
            gallery=progress.gallery,
            turns=progress.turns,
            max_references=self._config.max_references,
            max_prompt_chars=self._max_prompt_chars,
            spent=spent,
            is_cut=said.is_cut,
            is_repeated=said.text == before,
        )

    def _corrected(self, progress: _Progress, turn: Turn, mistake: Mistake) -> _Next:
        """The policy reads what was wrong and what to write instead."""
        progress = replace(progress, turns=(*progress.turns, turn))
        form = [Own(f" Write {mistake.form}")] if mistake.form else []
        return _Next(progress=progress, delta=self._delta(progress, [f"error: {mistake.message}", *form], ()))

    def _observed(self, progress: _Progress, turn: Turn, result: ToolResult) -> _Next:
        """The policy reads what the tool brought, with pictures under this trajectory's ids."""
        result = replace(result, text=self._renderer.clip(result.text, tokens=self._config.tools.observation_tokens))
        found = result.images[: self._config.tools.images_per_search]
        gallery = progress.gallery.admit(found)
        images = gallery.named(found)
        after = replace(progress, turns=(*progress.turns, turn), gallery=gallery, tool_calls=progress.tool_calls + 1)
        told = [result.text, *map(_caption, images), *self._not_shown(after, images)]
        read = replace(result, text="\n".join(told), images=images)
        after = replace(after, turns=(*progress.turns, replace(turn, result=read)))
        delta = self._delta(after, [result.text], images)
        if delta is not None:
            return _Next(progress=after, delta=delta)
        unread = replace(result, text=NO_ROOM, images=(), kind=ToolKind.FAILED, reason=NO_ROOM, sources=())
        after = replace(after, turns=(*progress.turns, replace(turn, result=unread)), gallery=progress.gallery)
        delta = self._delta(replace(after, tool_calls=self._config.max_tool_calls), [NO_ROOM], ())
        return _Next(progress=after, delta=None if delta is None else replace(delta, spent=Outcome.OUT_OF_TOKENS))

    def _delta(self, progress: _Progress, words: Sequence[str | Own], images: Sequence[FoundImage]) -> _Delta | None:
        """The observation as tokens, or None when it would leave no room for an answer."""
        spent = budget.spent_budget(progress.spent, self._config)
        parts: list[str | Own | Picture] = list(words)
        shown = images[: budget.pictures_left(progress.spent, self._max_images)]
        for image in shown:
            parts += [f"\n{_caption(image)} ", Picture()]
        parts += [f"\n{_caption(image)}" for image in images[len(shown) :]]
        parts += [Own(f"\n{told}") for told in self._not_shown(progress, images)]
        if spent is not None:
            parts.append(ANSWER_NOW)
        return self._reads(progress, parts, tuple(image.view for image in shown), spent=spent)

    def _not_shown(self, progress: _Progress, images: Sequence[FoundImage]) -> list[str]:
        """What the policy is told of pictures that the context has no place for; empty when there is one for each."""
        left = budget.pictures_left(progress.spent, self._max_images)
        if left is None or len(images) <= left:
            return []
        return [NOT_SHOWN.format(unseen=len(images) - left, most=self._max_images)]

    def _look(self, progress: _Progress, shown: ToolResult) -> _Delta | None:
        """The picture drawn from the answer as tokens; after it there is one more answer and nothing else."""
        views = tuple(image.view for image in shown.images)
        return self._reads(progress, LOOK, views, spent=Outcome.OUT_OF_TURNS)

    def _reads(
        self,
        progress: _Progress,
        parts: Sequence[str | Own | Picture],
        views: tuple[ImageRef, ...],
        *,
        spent: Outcome | None,
    ) -> _Delta | None:
        sampled = progress.turns[-1].completion_ids
        closes_turn = not sampled or sampled[-1] != self._renderer.end_of_turn_id
        token_ids = self._renderer.observation(parts, closes_turn=closes_turn)
        tokens = stretch_tokens(len(token_ids), views)
        left = budget.pictures_left(progress.spent, self._max_images)
        if not budget.has_room(progress.spent, self._config, tokens=tokens) or (left is not None and len(views) > left):
            return None
        return _Delta(token_ids=token_ids, images=views, spent=spent)


def turn_seed(seed: int, *, turn: int) -> int:
    """The sampling seed of one turn, 31 bits: the same for the same trajectory seed and turn, else unrelated."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{turn}".encode()).digest()[:4], "big") >> 1


def without_pictures(completion: Completion, renderer: Renderer) -> Completion:
    """The completion up to the first token that would announce a picture nobody has shown."""
    for index, token_id in enumerate(completion.token_ids):
        if token_id in renderer.forbidden_ids:
            return Completion(
                token_ids=completion.token_ids[:index],
                logprobs=completion.logprobs[:index],
                versions=completion.versions[:index],
                finish=completion.finish,
                log_kept=completion.log_kept[:index],
            )
    return completion


def _caption(image: FoundImage) -> str:
    return f"{image.title} is {image.img_id}"
