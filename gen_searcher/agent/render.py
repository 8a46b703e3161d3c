"""Text and pictures -> token ids, in the Qwen chat format.

    opening(system, task)  ->  system text, task text, and the header of the first answer
    observation(parts)     ->  what a tool said, and the header of the next answer

Text from outside (task prompts, pages, titles) is neutralised first, so that it can never become a token that means
something to the conversation. A delta is encoded as one string, so that its tokens are those of an ordinary chat.
"""

# tokenizers declares bare lists
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Tokens that only the renderer or the end of a turn may write."""

TAG_TOKENS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""Tokens of the policy's own language."""

PLAIN_TAGS = ("<answer>", "</answer>")
"""Tags that are ordinary text to the tokenizer but not to the parser."""

PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
"""One placeholder; only the engine and the learner expand it."""

_PICTURE_TOKENS = ("<|vision_start|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls, lone surrogates, direction marks and tag characters: nothing a reader would miss."""

_HARMFUL = re.compile(r"[^\w\s.,:;/()'\"-]", re.ASCII)

_ROUNDS = 3
"""Breaking a string may leave another; with Qwen's tokens one round is enough."""

_TOKENS_PER_BYTE = 3
"""A byte-level tokenizer makes at most one token of a UTF-8 byte; composing letters (NFC) before that can triple the
bytes, e.g. of U+1D160."""

_FRAMES = 256
"""Frames of our own words whose reserved tokens are remembered; there are as many as ways to lay out an observation."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The place of one picture within an observation."""


@dataclass(frozen=True, slots=True)
class Own:
    """Our own words within an observation, tags and all."""

    text: str


class Renderer:
    """Speaks one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """`tokenizer` must know every string of `SPECIAL_TOKENS`; it is kept as it is."""
        missing = [token for token in SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
        if missing:
            raise ValueError(f"the tokenizer lacks {', '.join(missing)}; it is not a Qwen chat tokenizer")
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._reserved_ids = frozenset(token_id for token_id, token in added.items() if len(token.content) > 1)
        words = {added[token_id].content for token_id in self._reserved_ids}
        words |= {*SPECIAL_TOKENS, *TAG_TOKENS, *PLAIN_TAGS}
        longest_first = sorted(words, key=lambda word: (-len(word), word))
        self._reserved_words = re.compile("|".join(["<(?=\\|)", *map(re.escape, longest_first)]))
        self.end_of_turn_id = self._id("<|im_end|>")
        self.picture_id = self._id("<|image_pad|>")
        self.forbidden_ids = frozenset(self._id(token) for token in _PICTURE_TOKENS)
        """Ids that a completion must not hold: they would announce a picture that is not there."""
        self._reserved_in_frame = functools.lru_cache(_FRAMES)(self._reserved_in)

    @classmethod
    def load(cls, policy_dir: Path) -> Renderer:
        """The renderer of a Hugging Face policy folder."""
        return cls(Tokenizer.from_file(str(policy_dir / "tokenizer.json")))

    @classmethod
    def over_bytes(cls) -> Renderer:
        """A renderer with one token a byte, for tests and dry runs."""
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
        tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in TAG_TOKENS])
        return cls(tokenizer)

    def opening(self, *, system: str, task: str) -> tuple[int, ...]:
        """The first prompt. `system` is our own text; `task` comes from outside."""
        head = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"
        return self._encode(head, [task], "<|im_end|>\n<|im_start|>assistant\n")

    def observation(self, parts: Sequence[str | Own | Picture], *, closes_turn: bool) -> tuple[int, ...]:
        """The prompt after a completion.

        Args:
            parts: text from outside, with our own words and pictures in between.
            closes_turn: True when the completion before it did not end with the end-of-turn token.
        """
        head = "<|im_end|>" if closes_turn else ""
        head += "\n<|im_start|>user\n<tool_response>\n"
        return self._encode(head, parts, "\n</tool_response><|im_end|>\n<|im_start|>assistant\n")

    def encode_own(self, text: str) -> tuple[int, ...]:
        """A stretch of conversation that we wrote ourselves, chat tokens and pictures included; nothing is neutralised."""
        return self._plain_encode(text)

    def encode_completion(self, text: str) -> tuple[int, ...]:
        """What a policy would sample to say `text`, end of turn included: for demonstrations and fakes."""
        return (*self._tokenizer.encode(text, add_special_tokens=False).ids, self.end_of_turn_id)

    def completion_text(self, token_ids: Sequence[int]) -> str:
        """What the policy said, without the end-of-turn token."""
        ended = len(token_ids) > 0 and token_ids[-1] == self.end_of_turn_id
        body = list(token_ids[:-1] if ended else token_ids)
        return self._tokenizer.decode(body, skip_special_tokens=False)

    def text(self, token_ids: Sequence[int]) -> str:
        """Any stretch of the conversation, special tokens included."""
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=False)

    def neutral(self, text: str) -> str:
        """`text` without unseen characters, and with every reserved string broken by a space after its first letter."""
        clean = _UNSEEN.sub("", text)
        for _ in range(_ROUNDS):
            clean = self._reserved_words.sub(lambda match: f"{match[0][0]} {match[0][1:]}", clean)
        return clean

    def clip(self, text: str, *, tokens: int) -> str:
        """`text` itself, or as much of its beginning as takes at most `tokens` tokens, with an ellipsis at the cut."""
        neutral = self.neutral(text)
        if _most_tokens(neutral) <= tokens or len(self._plain_encode(neutral)) <= tokens:
            return text
        fits, too_long = 0, len(text)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if len(self._plain_encode(self.neutral(text[:middle] + "…"))) <= tokens:
                fits = middle
            else:
                too_long = middle
        return text[:fits] + "…" if fits else ""

    def reserved_ids_in(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """The tokens among `token_ids` that carry meaning for the conversation, in order."""
        reserved = self._reserved_ids
        return tuple([token_id for token_id in token_ids if token_id in reserved])

    def _encode(self, head: str, parts: Sequence[str | Own | Picture], tail: str) -> tuple[int, ...]:
        frame = head + "".join(_own_text(part) for part in parts if not isinstance(part, str)) + tail
        expected = self._reserved_in_frame(frame)
        body = "".join(self.neutral(part) if isinstance(part, str) else _own_text(part) for part in parts)
        token_ids = self._plain_encode(head + body + tail)
        if self.reserved_ids_in(token_ids) == expected:
            return token_ids
        # A tokenizer whose normalizer makes reserved strings out of others: keep only harmless characters.
        body = "".join(_HARMFUL.sub(" ", part) if isinstance(part, str) else _own_text(part) for part in parts)
        return self._plain_encode(head + body + tail)

    def _reserved_in(self, text: str) -> tuple[int, ...]:
        return self.reserved_ids_in(self._plain_encode(text))

    def _plain_encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _id(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise ValueError(f"the tokenizer lacks {token}")
        return token_id


def _own_text(part: Own | Picture) -> str:
    return part.text if isinstance(part, Own) else PICTURE


def _most_tokens(text: str) -> int:
    """What `text` takes at most, without asking a tokenizer."""
    return len(text) if text.isascii() else _TOKENS_PER_BYTE * len(text.encode())
