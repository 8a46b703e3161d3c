from __future__ import annotations

from gen_searcher.metrics.report.texts import Texts, cut, segments


def test_texts_forget_what_came_after() -> None:
    texts = Texts()
    texts.index("kept")
    texts.index("dropped")
    texts.forget_after(1)
    assert texts.all == ["kept"]
    assert (texts.index("kept"), texts.index("dropped")) == (0, 1)


def test_a_prompt_is_cut_after_each_message() -> None:
    assert segments("a<|im_end|>\nb<|im_end|>") == ["a<|im_end|>", "\nb<|im_end|>"]


def test_a_long_text_says_how_much_is_missing() -> None:
    assert cut("abcdef", limit=4) == "abcd… [2 more characters not shown]"
