"""Texts of the page: cut to a length, cut into messages, and each long one held once."""

from __future__ import annotations

TEXT_CHARS = 6000
"""Longest text of one observation or message on the page; a longer one is cut and says so."""

END_OF_MESSAGE = "<|im_end|>"


class Texts:
    """Long texts that many attempts share, such as the system prompt, each once."""

    def __init__(self) -> None:
        """Empty."""
        self.all: list[str] = []
        self._index: dict[str, int] = {}

    def index(self, text: str) -> int:
        """Place of the text in `all`."""
        if text not in self._index:
            self._index[text] = len(self.all)
            self.all.append(text)
        return self._index[text]

    def forget_after(self, count: int) -> None:
        """Keep the first `count` texts only."""
        for text in self.all[count:]:
            del self._index[text]
        del self.all[count:]


def cut(text: str, *, limit: int = TEXT_CHARS) -> str:
    """The text, or its start and how much is missing."""
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} more characters not shown]"


def segments(prompt: str) -> list[str]:
    """The prompt cut after each message, so that messages which many prompts share are equal texts."""
    parts = prompt.split(END_OF_MESSAGE)
    whole = [part + END_OF_MESSAGE for part in parts[:-1]] + parts[-1:]
    return [cut(part) for part in whole if part]
