"""What ends is named with the day, who says so, and what to take instead."""

from __future__ import annotations

from datetime import date

import pytest

from gen_searcher.config.endings import ENDINGS, endings
from gen_searcher.config.plug import Plug

HOSTED = Plug.model_validate({"_target_": "a.B", "server": {"model": "gpt-image-1.5"}})


@pytest.mark.parametrize(
    ("today", "says"),
    [
        (date(2026, 9, 1), []),
        (date(2026, 11, 20), ["ends on 2026-12-01, in 11 days, as OpenAI's list of deprecations"]),
        (date(2027, 1, 1), ["has ended on 2026-12-01"]),
    ],
)
def test_a_hosted_model_that_ends_is_named_with_what_to_take_instead(today: date, says: list[str]) -> None:
    found = list(endings({"judges.image": HOSTED}, today=today))
    assert len(found) == len(says)
    for line, words in zip(found, says, strict=True):
        assert line.startswith("judges.image.server.model: gpt-image-1.5")
        assert words in line
        assert line.endswith("set judges.image.server.model=gpt-image-2.5-sunburst")


def test_the_judge_that_ships_ends_and_its_successor_is_named() -> None:
    judge = Plug.model_validate({"_target_": "a.B", "server": {"model": "gpt-4.1"}})
    (line,) = endings({"judges.text": judge}, today=date(2026, 11, 21))
    assert "gpt-4.1 ends on 2027-01-14, in 54 days" in line
    assert line.endswith("set judges.text.server.model=gpt-6-luna")


def test_a_search_service_that_has_ended_is_known_by_its_address() -> None:
    search = Plug.model_validate({"_target_": "a.Bing", "base_url": "https://api.bing.microsoft.com/v7.0"})
    (line,) = endings({"search.search": search}, today=date(2026, 11, 21))
    assert line.startswith("search.search.base_url: api.bing.microsoft.com has ended on 2025-08-11")
    assert line.endswith("choose another service, e.g. search=serper")


def test_no_successor_is_about_to_end_itself() -> None:
    assert not {ending.instead for ending in ENDINGS.values()} & set(ENDINGS)
