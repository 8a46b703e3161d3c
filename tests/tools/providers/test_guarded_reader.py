"""What a page says of its own letters."""

from __future__ import annotations

import pytest

from gen_searcher.ledger.payload import pack_attempt, unpack_attempt
from gen_searcher.tools.http import Fetched
from gen_searcher.tools.providers.guarded_reader import readable
from gen_searcher.types import Attempt, Outcome, Reward, ToolResult, Trajectory, Turn
from gen_searcher.web import Page


def read(body: bytes, charset: str | None, kind: str = "text/plain") -> Page:
    return readable(Fetched(url="http://a.example/", content_type=kind, charset=charset, body=body))


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (b"hello +2AA-", "utf-7"),
        (b"hello \\ud800", "unicode_escape"),
        (b"hello \\ud800", "raw_unicode_escape"),
        (b"hello xn--\xff.", "idna"),
        (b"hello", "undefined"),
        (b"hello", "hex"),
        (b"hello", "no such charset"),
        (b"hello", "a\x00b"),
        (b"hello", "\udcff"),
    ],
)
@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
def test_whatever_charset_a_server_names_the_page_can_be_read_and_kept(body: bytes, charset: str, kind: str) -> None:
    page = read(body if kind == "text/plain" else b"<html><p>" + body + b"</p></html>", charset, kind)
    assert page.text.startswith("hello")
    result = ToolResult(text=page.text)
    turn = Turn(prompt_ids=(), completion_ids=(), logprobs=(), versions=(), result=result)
    trajectory = Trajectory(task_id="t", turns=(turn,), outcome=Outcome.OUT_OF_TURNS, grounding=None)
    attempt = Attempt(trajectory=trajectory, seed=0, image=None, judgements=(), reward=Reward(total=0.0, parts={}))
    assert unpack_attempt(pack_attempt(attempt)) == attempt


@pytest.mark.parametrize(
    ("body", "charset", "says"),
    [
        ("Müller".encode("latin-1"), "iso-8859-1", "Müller"),
        ("旗".encode("shift_jis"), "Shift_JIS", "旗"),
        ("旗".encode("utf-16"), "utf-16", "旗"),
        ("旗".encode(), None, "旗"),
        (b"\xff", "utf-8", "\ufffd"),
    ],
)
def test_charsets_that_pages_are_written_in_are_read_as_named(body: bytes, charset: str | None, says: str) -> None:
    assert read(body, charset).text == says


def test_a_reference_to_half_a_character_is_none() -> None:
    page = read(b"<html><title>a &#xD83D;</title><p>b &#xD83D; c</p></html>", None, "text/html")
    assert f"{page.title} {page.text}".encode()
