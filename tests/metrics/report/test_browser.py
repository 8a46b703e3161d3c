"""The page in a real browser. Slow: a browser starts in seconds on a quiet machine, in minutes on a loaded one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from gen_searcher.metrics.report import LiveReport, ReportServer, write_report
from gen_searcher.metrics.report.lines import TurnText
from gen_searcher.types import ToolCall, ToolResult
from tests.metrics.report.browser import Browser, find_chromium
from tests.metrics.report.conftest import COUNTRIES, REPLY, FixtureRun, fill

CHROMIUM = find_chromium()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (chromium, google-chrome)"),
]

MANY = 500
LOADS = 5
HOSTILE = "</script><b id=x onclick=struck=1>bold</b><img src=x onerror=struck=1>"
LINK = "javascript:struck=1"
DRIFT = "[...document.querySelectorAll('#detail section')].find((one) => one.textContent.startsWith('Log-prob drift')).textContent"
SHOWN = "document.querySelectorAll('#list button').length"
CURRENT = "document.querySelector('#list [aria-current=true]')?.dataset.id"
REQUEST = "document.querySelector('.request')?.textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM, profile=tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = FixtureRun(tmp_path_factory.mktemp("runs") / "run-7")
    fill(run)
    return write_report(run.root)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of `MANY` attempts, with a picture of its own for each."""
    run = FixtureRun(tmp_path_factory.mktemp("runs") / "many")
    countries = list(COUNTRIES)
    lines = [
        run.line(
            countries[index % 8],
            step=index // 8,
            group=f"g{index // 8}",
            seed=index,
            score=index / MANY,
            advantage=0.1,
            prompt=f"Request {index} for the flag of {countries[index % 8]}",
        )
        for index in range(MANY)
    ]
    run.lines("grpo/attempts.jsonl", lines)
    run.metrics("grpo", [{"step": step, "time_s": 9.0 * step, "reward/total": step / 70} for step in range(1, 63)])
    return write_report(run.root, limit=MANY)


def is_clean(browser: Browser) -> bool:
    assert browser.complaints() == []
    assert browser.requests() == []
    return True


def test_five_hundred_attempts_load_in_less_than_a_second(browser: Browser, many: Path) -> None:
    """On the wall, to the end of the load event, and of the main thread's processor; both in the fastest of `LOADS`.

    What else runs on the machine only adds to a load, so that the fastest says most of the page.
    """
    waited_s: list[float] = []
    busy_s: list[float] = []
    for _ in range(LOADS):
        browser.open(many.as_uri())
        assert browser.ask(SHOWN) == MANY
        waited_s.append(browser.loaded_s())
        busy_s.append(browser.busy_s())
        assert is_clean(browser)
    assert 0.0 < min(waited_s) < 1.0, waited_s
    assert 0.0 < min(busy_s) < 1.0, busy_s


def test_only_pictures_near_the_screen_are_decoded(browser: Browser, many: Path) -> None:
    browser.open(many.as_uri())
    assert browser.ask("document.querySelectorAll('#list img[src]').length") == 0  # The list is far below.
    browser.ask("document.getElementById('list').scrollIntoView()")
    browser.until("document.querySelector('#list img[src]') !== null")
    assert browser.ask("document.querySelectorAll('#list img[src]').length") < 60
    assert browser.ask("document.querySelectorAll('#list img').length") == MANY
    down = "document.getElementById('list').scrollTop = 1e6"  # Again: entries get their height when they are seen.
    browser.until(f"({down}, document.querySelector('#list li:last-child img[src]') !== null)")
    assert browser.ask("document.querySelectorAll('#list img[src]').length") < 120
    assert is_clean(browser)


def test_filters_leave_what_matches(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    assert browser.ask(SHOWN) == 75
    choose = "(name, value) => { const e = document.getElementById(name); e.value = value; e.dispatchEvent(new Event('input', { bubbles: true })); }"
    browser.ask(f"({choose})('f-outcome', 'lost')")
    assert browser.ask(SHOWN) == 3
    assert browser.ask("document.getElementById('f-count').textContent") == "3 of 75"
    browser.ask(f"({choose})('f-outcome', ''), ({choose})('f-arm', 'base'), ({choose})('f-text', 'Warsaw')")
    assert browser.ask(SHOWN) == 1
    browser.ask(f"({choose})('f-text', 'nothing like this')")
    assert browser.ask("document.querySelector('#list').textContent") == "No attempt matches."
    assert is_clean(browser)


def test_every_key_does_what_the_help_says(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    order = browser.ask("listed.map((one) => one.id)")
    assert browser.ask(CURRENT) == order[0]
    for key, place in (("j", 1), ("ArrowRight", 2), ("k", 1), ("ArrowLeft", 0)):
        browser.key(key)
        assert browser.ask(CURRENT) == order[place]
    browser.key("/")
    browser.type("Vienna")
    assert browser.ask("document.activeElement.id") == "f-text"
    found = browser.ask("listed.map((one) => one.prompt)")
    assert found
    assert all("Vienna" in one for one in found)
    browser.key("j")  # A letter of the search now, not a command.
    assert browser.ask("document.getElementById('f-text').value") == "Viennaj"
    browser.key("Escape")
    assert browser.ask("document.activeElement.id") != "f-text"
    browser.key("?")
    assert browser.ask("document.getElementById('help').open")
    browser.key("Escape")
    assert not browser.ask("document.getElementById('help').open")
    assert is_clean(browser)


def test_siblings_are_walked_and_shown_side_by_side(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    browser.ask("open(attempts.find((one) => one.is_training && one.outcome === 'grounded').id)")
    first = browser.ask("byId.get(current).group")
    browser.key("]")
    assert browser.ask("byId.get(current).group") == first
    assert browser.ask("attempts.filter((one) => one.group === byId.get(current).group).length") == 4
    browser.ask("[...document.querySelectorAll('summary')].find((one) => one.textContent === 'Side by side').click()")
    browser.until("document.querySelectorAll('.cards > li').length === 4")
    assert is_clean(browser)


def test_an_attempt_shows_its_tokens_events_and_provenance(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    browser.ask("open(attempts.find((one) => one.is_training && one.outcome === 'grounded').id)")
    text = browser.ask("document.getElementById('detail').textContent")
    for words in ("72 tokens: 12 written by the policy, 60 read", "policy version 3 to 4", "Provenance", "run-7"):
        assert words in text
    browser.key("f")
    assert browser.ask("document.querySelector('.flick').getAttribute('aria-pressed')") == "true"
    assert browser.ask("document.querySelector('.ordinal').textContent") == "first"
    browser.ask("document.querySelector('.ordinal').click()")
    assert "IMG_001" in browser.ask("document.activeElement.textContent")
    assert is_clean(browser)


def test_the_reward_stands_beside_its_alpha_and_a_judge_beside_its_raw_reply(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    browser.ask("open(attempts.find((one) => one.is_training && one.outcome === 'grounded').id)")
    named = "Object.fromEntries([...document.querySelectorAll('.numbers div')].map((one) => [...one.children].map((part) => part.textContent)))"
    assert browser.ask(named)["alpha: share of text"] == "0.5"
    raw = "[...document.querySelectorAll('.judge summary')].filter((one) => one.textContent === 'Raw reply')"
    assert browser.ask(f"{raw}.length") == 1  # The offline judge beside it has none.
    assert browser.ask("document.querySelectorAll('.judge pre').length") == 0
    browser.ask(f"{raw}[0].click()")
    browser.until("document.querySelectorAll('.judge pre').length === 1")
    assert browser.ask("document.querySelector('.judge pre').textContent") == REPLY
    assert "Numbers of the whole step, not of this sample" in browser.ask(DRIFT)
    browser.ask("open(attempts.find((one) => one.outcome === 'malformed').id)")
    assert "alpha: share of text" not in browser.ask(named)  # Nothing was blended.
    assert is_clean(browser)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one attempt whose search, browsing and judge were a stranger's."""
    run = FixtureRun(tmp_path_factory.mktemp("runs") / "hostile")
    line = run.line("Poland", step=1)
    assert line.attempt is not None
    first, second, last = line.attempt.trajectory.turns
    found = ToolResult(
        text=f"results for: q\n1. {HOSTILE} | {LINK}\n{HOSTILE}. Warsaw is the capital. More.\nno results for: {HOSTILE}",
        sources=(LINK,),
        retries=2,
    )
    read = ToolResult(text=f"page: {HOSTILE}\nIt has two stripes. {HOSTILE}", sources=(LINK,))
    turns = (
        replace(first, result=found),
        replace(second, call=ToolCall(name="browse", arguments={"url": LINK, "query": "stripes"}), result=read),
        replace(last, result=None),
    )
    words = "<think>Warsaw is the capital; it has two stripes</think><answer>{}</answer>"
    judged = tuple(replace(one, reply=HOSTILE) for one in line.attempt.judgements)
    trajectory = replace(line.attempt.trajectory, turns=turns)
    attempt = replace(line.attempt, trajectory=trajectory, judgements=judged)
    texts = (*line.texts[:2], TurnText(prompt="", completion=words))
    run.lines("grpo/attempts.jsonl", [replace(line, attempt=attempt, texts=texts)])
    return write_report(run.root)


def test_hits_are_rows_of_a_table_and_what_the_policy_wrote_again_is_marked(browser: Browser, hostile: Path) -> None:
    browser.open(hostile.as_uri())
    cells = browser.ask("[...document.querySelectorAll('.hits tbody tr > *')].map((one) => one.textContent)")
    assert cells == ["1", HOSTILE, LINK, f"{HOSTILE}. Warsaw is the capital. More."]
    assert browser.ask("[...document.querySelectorAll('p.asked')].map((one) => one.textContent)") == [
        f"No results for: {HOSTILE}"
    ]
    marks = (
        "[...document.querySelectorAll('.observation td mark, .observation pre mark')].map((one) => one.textContent)"
    )
    assert browser.ask(marks) == ["Warsaw is the capital.", "It has two stripes."]
    assert browser.ask("document.querySelector('.observation pre').textContent").startswith(f"page: {HOSTILE}")
    assert "2 requests made again" in browser.ask("document.querySelector('.observation').textContent")
    assert "tool retried" in browser.ask("document.querySelector('.events').textContent")


def test_nothing_that_a_stranger_wrote_becomes_an_element_or_an_address(browser: Browser, hostile: Path) -> None:
    browser.open(hostile.as_uri())
    browser.ask("document.querySelectorAll('#detail summary').forEach((one) => one.click())")
    browser.until("document.querySelectorAll('.judge pre').length === 2")
    assert browser.ask("document.querySelector('.judge pre').textContent") == HOSTILE
    assert browser.ask("document.querySelectorAll('#detail a, #detail b[id], #detail script').length") == 0
    assert browser.ask("window.struck") is None
    assert is_clean(browser)


def test_a_phone_lays_the_cells_of_a_hit_one_below_the_other(browser: Browser, hostile: Path) -> None:
    browser.size(390, 844, phone=True)
    try:
        browser.open(hostile.as_uri())
        browser.ask("document.querySelector('#list button').click()")
        assert browser.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        boxes = browser.ask(
            "[...document.querySelectorAll('.hits tbody td')].map((one) => { const box = one.getBoundingClientRect(); return [box.left, box.top, box.right]; })"
        )
        assert len(boxes) == 3
        assert len({left for left, _, _ in boxes}) == 1
        assert boxes[0][1] < boxes[1][1] < boxes[2][1]
        assert max(right for _, _, right in boxes) <= 390
        assert browser.ask("document.querySelector('.hits tbody td').getAttribute('role')") == "cell"
    finally:
        browser.size(1280, 900)


def test_a_highlight_opens_its_attempt(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    wanted = browser.ask("document.querySelector('.tile').click(), document.querySelector('.thumb').dataset.attempt")
    browser.until(f"current === {json.dumps(wanted)}")
    assert is_clean(browser)


def test_two_runs_lie_beside_each_other(browser: Browser, tmp_path: Path) -> None:
    runs = [FixtureRun(tmp_path / name) for name in ("first", "second")]
    for run in runs:
        fill(run)
    runs[1].text("config/grpo.yaml", "steps: 60\ngroup_size: 8\nlearner:\n  lr: 1.0e-05\n")
    browser.open(write_report(runs[0].root, compare_with=runs[1].root).as_uri())
    assert browser.ask("document.querySelectorAll('.line.other').length") > 5
    assert "group_size" in browser.ask("document.getElementById('compared').textContent")
    assert browser.ask("[...document.getElementById('f-run').options].map((one) => one.value)") == [
        "",
        "first",
        "second",
    ]
    before = browser.ask("({ run: byId.get(current).run, task: byId.get(current).task_id })")
    assert before["run"] == "first"
    assert browser.ask("document.querySelectorAll('.cards > li').length") == 2
    browser.key("c")
    after = browser.ask("({ run: byId.get(current).run, task: byId.get(current).task_id })")
    assert after == {"run": "second", "task": before["task"]}
    assert is_clean(browser)


def test_a_phone_shows_the_list_then_the_attempt_and_nothing_hangs_over(browser: Browser, page: Path) -> None:
    browser.size(390, 844, phone=True)
    try:
        browser.open(page.as_uri())
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.ask(wide) == 0
        browser.ask("document.querySelector('#list button').click()")
        assert browser.ask("getComputedStyle(document.getElementById('list')).display") == "none"
        assert browser.ask(wide) == 0
        browser.ask("document.querySelector('.back').click()")
        assert browser.ask("getComputedStyle(document.getElementById('list')).display") != "none"
    finally:
        browser.size(1280, 900)
    assert is_clean(browser)


NAMELESS = """[...document.querySelectorAll('button, a, input, select, [role=img], [role=region], img')].filter((one) => {
  if (one.tagName === 'IMG') return !one.hasAttribute('alt');
  const label = one.closest('label');
  return !(one.textContent.trim() || one.getAttribute('aria-label') || (label && label.textContent.trim()));
}).map((one) => one.outerHTML.slice(0, 120))"""

CONTRAST = """(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (let at = e; at; at = at.parentElement) { const c = parts(getComputedStyle(at).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const poor = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (e instanceof SVGElement || !e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(parts(getComputedStyle(e).color).slice(0, 3)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.add(`${e.tagName}.${e.className} ${ratio.toFixed(2)}`);
  }
  return [...poor];
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_can_be_read(browser: Browser, page: Path, scheme: str) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(page.as_uri())
    assert browser.ask(NAMELESS) == []
    assert browser.ask(CONTRAST) == []
    headings = browser.ask("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_the_focus_can_be_seen(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    for _ in range(4):
        browser.key("Tab")
        style = browser.ask(
            "(() => { const s = getComputedStyle(document.activeElement); return `${s.outlineStyle} ${s.outlineWidth}`; })()"
        )
        assert style == "solid 2px"


def test_a_live_page_follows_the_run_and_keeps_what_one_reads(browser: Browser, tmp_path: Path) -> None:
    run = FixtureRun(tmp_path / "growing")
    run.metrics("grpo", [{"step": 1, "time_s": 5.0, "reward/total": 0.25}])
    path = run.lines("grpo/attempts.jsonl", [run.line("Poland", step=1), run.line("France", step=1, group="g1")])
    with ReportServer(LiveReport(run.root)) as server:
        browser.open(server.url)
        assert browser.ask(SHOWN) == 2
        browser.ask("open(attempts[1].id)")
        reading = browser.ask(CURRENT)
        more = run.lines("more.jsonl", [run.line("Italy", step=2, group="g2")]).read_text(encoding="utf-8")
        path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
        run.metrics("grpo", [{"step": s, "time_s": 5.0 * s, "reward/total": 0.25 * s} for s in (1, 2)])
        browser.until(f"{SHOWN} === 3")
        assert browser.ask(CURRENT) == reading
        assert "GRPO to step 2" in browser.ask("document.querySelector('.about').textContent")
        assert browser.complaints() == []
        assert all(url.startswith(server.url) for url in browser.requests())
