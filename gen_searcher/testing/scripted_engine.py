"""A fake policy: says what it was told to say, token by token, and remembers what it was shown."""

from __future__ import annotations

from collections.abc import Sequence

from gen_searcher.agent.render import Renderer
from gen_searcher.types import Completion, Finish, Prompt, Sampling, WeightSource

LOGPROB = -0.5
"""Log-probability that the fake claims for each token."""
LOG_KEPT = -0.125
"""Log of the mass that the fake claims to have sampled each token from."""


class ScriptedEngine:
    """A `PolicyEngine` that is a fake: it has no model and replays texts, one per call.

    A text longer than `Sampling.max_tokens` is cut there, as a real engine would cut it.
    """

    def __init__(self, texts: Sequence[str | tuple[int, ...]], *, renderer: Renderer) -> None:
        """`texts` are completions without the end-of-turn token, or token ids that are replayed as they are."""
        self._texts = list(texts)
        self._renderer = renderer
        self.version = 0
        self.prompts: list[Prompt] = []
        """What it was shown, in order."""
        self.samplings: list[Sampling] = []
        """How it was asked to sample, in order."""

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Say the next text."""
        if len(self.prompts) == len(self._texts):
            raise IndexError(f"the script has {len(self._texts)} texts and the agent asked for one more")
        text = self._texts[len(self.prompts)]
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        whole = self._renderer.encode_completion(text) if isinstance(text, str) else text
        said = whole[: sampling.max_tokens]
        return Completion(
            token_ids=said,
            logprobs=(LOGPROB,) * len(said),
            versions=(self.version,) * len(said),
            finish=Finish.STOP if len(said) == len(whole) else Finish.LENGTH,
            log_kept=(LOG_KEPT,) * len(said),
        )

    async def load_weights(self, version: int, source: WeightSource) -> None:
        """Claim the new version from now on."""
        self.version = version
