"""`bench benchmark=...` for pictures that are drawn already: real files, a real judge over HTTP, no workers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.commands import bench, preflight
from gen_searcher.commands.desk import open_desk
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.load import load
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import DataError, JudgeGone
from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion, problem

CATEGORIES = ("biology", "anime", "physics", "film")
VERDICT = {"rationale": "r", "faithfulness": 1, "visual_correctness": 0.5, "text_accuracy": None, "aesthetics": 1}
K = 0.1 + 0.2 + 0.2 + 0.1


class Judge:
    """Scores every picture alike; rows in `broken` get an error, and after `until` verdicts the model is retired."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.until = 10**6
        self.verdicts: list[str] = []

    async def __call__(self, request: ChatRequest) -> ChatReply:
        name = request.text.split("Draw ")[1].split(".")[0]
        if len(self.verdicts) >= self.until:
            return problem(404, code="model_not_found", message="retired")
        if name in self.broken:
            return problem(400, code=None, message="cannot")
        self.verdicts.append(name)
        return completion(json.dumps({"rationale": "r", "score": 1} if "<key>" in request.text else VERDICT))


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def url(judge: Judge) -> Iterator[str]:
    """A judge's server in a thread: the command has an event loop of its own."""
    loop, ready, server = asyncio.new_event_loop(), threading.Event(), LocalChatServer(judge)
    stop = asyncio.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield server.base_url
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def results(folder: Path, count: int = 8, **changes: dict[str, object]) -> Path:
    """Picture results of the reference's form; `changes` by row, as `_3={...}`."""
    rows: list[dict[str, object]] = []
    for number in range(count):
        for name, colour in (("gt", "red"), ("out", "blue")):
            Image.new("RGB", (8 + number, 8), colour).save(folder / f"{name}{number}.png")
        rows.append(
            {
                "id": number,
                "prompt": f"Draw {number}.",
                "meta": {"category": CATEGORIES[number % 4], "difficulty": "easy"},
                "gt_image": f"gt{number}.png",
                "output_path": f"out{number}.png",
                "success": True,
                **changes.get(f"_{number}", {}),
            }
        )
    path = folder / "results.json"
    path.write_text("[" + ",\n".join(map(json.dumps, rows)) + "]")
    return path


def settings(tmp_path: Path, url: str, *words: str, judge: str = "judges.image") -> RunConfig:
    return load(
        [
            *("experiment=smoke", f"run_dir={tmp_path}/run", "bench.arms=[]", "bench.tasks=null"),
            *("judge=openai", f"{judge}.server.base_url={url}", f"{judge}.server.key=null", *words),
        ]
    )


def knowgen(tmp_path: Path, url: str, *words: str) -> RunConfig:
    return settings(tmp_path, url, "benchmark=knowgen", "judges.image.server.tries=1", *words)


def table(tmp_path: Path, kind: str = "knowgen") -> dict[str, object]:
    return json.loads((tmp_path / "run" / "bench" / kind / "standings.json").read_text())


def test_drawn_pictures_are_scored_both_ways_and_what_is_left_out_is_listed(
    tmp_path: Path, url: str, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    path = results(
        tmp_path,
        _1={"success": False, "error": "declined"},
        _2={"output_path": "gone.png"},
        _3={"meta": {"category": "alchemy"}},
        _4={"gt_image": "gone.png"},
    )
    judge.broken = {"5"}
    assert bench.run(knowgen(tmp_path, url, f"bench.benchmark.drawn.mine={path}", "bench.benchmark.tries=2")) == 0
    assert sorted(judge.verdicts) == ["0", "6", "7"]
    found = table(tmp_path)
    arm = found["arms"][0]  # pyright: ignore[reportIndexIssue]
    assert (arm["rows"], arm["judged"]) == (6, 3)
    assert (arm["row_s"], arm["row_usd"], arm["cost_usd"]) == (None, None, None), "others drew, nobody named a price"
    assert arm["failed"] == {"generate": 1, "picture": 1, "judge": 1}
    assert arm["excluded"]["overall"]["value"] == pytest.approx(100 * K)
    science, pop = arm["zero"]["strata"]["science & knowledge"], arm["zero"]["strata"]["pop culture & news"]
    assert science["value"] == pytest.approx(100 * (2 / 3 * 0.4)), "rows 0, 6 and the failed 2; its text counts 0"
    assert pop["value"] == pytest.approx(100 * (1 / 3 * 0.4)), "row 7 and the failed 1 and 5"
    assert found["left_out"] == 2
    problems = [json.loads(line) for line in (tmp_path / "run/bench/knowgen/problems.jsonl").read_text().splitlines()]
    assert [(one["line"], one["row"]) for one in problems] == [(4, "3"), (5, "4")]
    printed = capsys.readouterr().out
    assert "3 (generate 1, judge 1, picture 1)" in printed
    assert "results.json, line 4: row 3: meta.category: alchemy" in printed
    rows = [json.loads(line) for line in (tmp_path / "run/bench/knowgen/rows-mine.jsonl").read_text().splitlines()]
    assert {one["id"]: one["failure"]["stage"] for one in rows if one["failure"]} == {
        "1": "generate", "2": "picture", "5": "judge",
    }  # fmt: skip


def test_a_picture_that_is_there_weighs_as_much_as_one_that_is_missing_whatever_the_samples(
    tmp_path: Path, url: str, judge: Judge
) -> None:
    path = results(tmp_path, _2={"output_path": "gone.png"}, _3={"output_path": "gone.png"})
    bench.run(knowgen(tmp_path, url, f"bench.benchmark.drawn.mine={path}", "bench.samples=3"))
    assert sorted(judge.verdicts) == ["0", "1", "4", "5", "6", "7"], "a picture is judged once"
    arm = table(tmp_path)["arms"][0]  # pyright: ignore[reportIndexIssue]
    assert (arm["rows"], arm["judged"]) == (8, 6)
    science = arm["zero"]["strata"]["science & knowledge"]["value"]
    assert science == pytest.approx(100 * (3 / 4 * 0.4)), "rows 0, 4, 6 and the missing 2; its text counts 0"


def test_a_bench_that_was_stopped_pays_for_no_row_twice_and_tries_failed_ones_again(
    tmp_path: Path, url: str, judge: Judge
) -> None:
    path = results(tmp_path)
    cfg = knowgen(tmp_path, url, f"bench.benchmark.drawn.mine={path}", "judges.image.server.concurrency=1")
    judge.until, judge.broken = 3, {"7"}
    with pytest.raises(JudgeGone):
        bench.run(cfg)
    assert len(judge.verdicts) == 3
    judge.until = 10**6
    bench.run(cfg)
    assert sorted(judge.verdicts) == [str(number) for number in range(7)], "each exactly once"
    assert table(tmp_path)["arms"][0]["failed"] == {"judge": 1}  # pyright: ignore[reportIndexIssue]
    judge.broken = set()
    bench.run(cfg)
    assert sorted(judge.verdicts) == [str(number) for number in range(8)]
    assert table(tmp_path)["arms"][0]["failed"] == {}  # pyright: ignore[reportIndexIssue]


def test_a_judge_that_is_only_asked_more_slowly_is_not_asked_again(tmp_path: Path, url: str, judge: Judge) -> None:
    drawn = f"bench.benchmark.drawn.mine={results(tmp_path, 2)}"
    for word in ("concurrency=8", "concurrency=1", "timeout_s=9", "retry_max_s=1", "usd_per_m_input=3"):
        bench.run(knowgen(tmp_path, url, drawn, f"judges.image.server.{word}"))
    assert len(judge.verdicts) == 2


def test_another_judge_is_asked_anew(tmp_path: Path, url: str, judge: Judge) -> None:
    drawn = f"bench.benchmark.drawn.mine={results(tmp_path, 2)}"
    for model in ("a", "b", "a"):
        bench.run(knowgen(tmp_path, url, drawn, f"judges.image.server.model={model}"))
    assert sorted(judge.verdicts) == ["0", "0", "1", "1"]


def test_two_runs_are_compared_pair_by_pair_with_rows_of_the_benchmark_as_the_denominator(
    tmp_path: Path, url: str, judge: Judge
) -> None:
    path = results(tmp_path)
    scored = []
    for number, row in enumerate(json.loads(path.read_text())[:6]):
        scores = {**VERDICT, "text_accuracy": 0.5, "visual_correctness": 0, "text_accuracy_na": True}
        scored.append({**row, "eval_success": number != 5, "scores": scores if number != 5 else None, "error": "x"})
    (tmp_path / "theirs.json").write_text(json.dumps(scored))
    words = [f"bench.benchmark.rows=[{path}]", f"bench.benchmark.scored.theirs={tmp_path}/theirs.json"]
    bench.run(knowgen(tmp_path, url, *words, f"bench.benchmark.drawn.mine={path}"))
    found = table(tmp_path)
    arms = {arm["arm"]: arm for arm in found["arms"]}  # pyright: ignore[reportGeneralTypeIssues]
    assert arms["theirs"]["rows"] == 8, "rows that their file lacks are failed rows"
    assert arms["theirs"]["failed"] == {"judge": 3}
    pairs = {(one["way"]): (one["overall"]["value"], one["tasks"]) for one in found["paired"]}  # pyright: ignore
    assert pairs["excluded"] == (pytest.approx(-20), 5)
    assert pairs["zero"][1] == 8
    assert pairs["zero"][0] < -20


def test_whole_files_are_cut_to_the_tasks_of_the_benchmark_and_the_table_says_so(
    tmp_path: Path, url: str, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    path = results(tmp_path)
    scores = {**VERDICT, "text_accuracy": 0.5}
    rows = [{**row, "eval_success": True, "scores": scores} for row in json.loads(path.read_text())]
    (tmp_path / "theirs.json").write_text(json.dumps([*rows, {**rows[0], "id": 77}]))
    words = [f"bench.benchmark.rows=[{path}]", f"bench.benchmark.scored.theirs={tmp_path}/theirs.json"]
    bench.run(knowgen(tmp_path, url, *words, f"bench.benchmark.drawn.mine={path}", "bench.tasks=2"))
    assert sorted(judge.verdicts) == ["3", "4"], "those with the lowest SHA-256 of their ids"
    found = table(tmp_path)
    assert [(arm["arm"], arm["rows"]) for arm in found["arms"]] == [("mine", 2), ("theirs", 2)]  # pyright: ignore
    assert found["left_out"] == 1, "row 77 is of no task"
    printed = capsys.readouterr().out
    assert "mine: 6 more rows are there and left out, as bench.tasks=2" in printed
    assert "theirs: 6 more rows are there and left out, as bench.tasks=2" in printed


def test_without_published_rows_every_arm_is_scored_on_the_same_ones_as_far_as_it_has_them(
    tmp_path: Path, url: str, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their ids 4, 3 and 0 come first: one file lacks 0, another one 1, so that places choose different rows."""
    rows = json.loads(results(tmp_path).read_text())
    scores = {**VERDICT, "text_accuracy": 0.5}
    scored = [{**row, "eval_success": True, "scores": scores} for row in rows]
    for name, lines in (("a", rows[1:]), ("b", [*rows[:1], *rows[:1:-1]]), ("c", scored), ("d", scored[1:])):
        (tmp_path / f"{name}.json").write_text(json.dumps(lines))
    words = [f"bench.benchmark.drawn.{name}={tmp_path}/{name}.json" for name in "ab"]
    words += [f"bench.benchmark.scored.{name}={tmp_path}/{name}.json" for name in "cd"]
    bench.run(knowgen(tmp_path, url, *words, "bench.tasks=3"))
    folder = tmp_path / "run" / "bench" / "knowgen"
    ids = {
        name: sorted(json.loads(line)["id"] for line in (folder / f"rows-{name}.jsonl").read_text().splitlines())
        for name in "abcd"
    }
    assert ids == {"a": ["3", "4"], "b": ["0", "3", "4"], "c": ["0", "3", "4"], "d": ["3", "4"]}
    assert sorted(judge.verdicts) == ["0", "3", "4"], "nobody is asked about another row"
    printed = capsys.readouterr().out
    for arm, aside in (("a", 5), ("b", 4), ("c", 5), ("d", 5)):
        assert f"{arm}: {aside} more rows are there and left out, as bench.tasks=3" in printed
    assert table(tmp_path)["left_out"] == 0


def test_what_another_agent_found_is_thinned_as_its_rows_are_and_the_rest_is_counted(tmp_path: Path, url: str) -> None:
    each: dict[str, dict[str, object]] = {f"_{number}": {"gen_prompt": f"found {number}"} for number in range(8)}
    path = results(tmp_path, 8, **each)
    cfg = knowgen(tmp_path, url, f"bench.benchmark.groundings.theirs={path}", "bench.tasks=2")
    with open_desk(Workplace.open(cfg)) as desk:
        assert desk.published() == ()
        assert [task.id for task in desk.tasks(path)] == ["3", "4"]
        found = desk.groundings("theirs")["3"]
        assert found is not None
        assert found.gen_prompt == "found 3"
        assert desk.notes == ["theirs: 6 more rows are there and left out, as bench.tasks=2"]


def test_an_arm_without_a_usable_row_is_refused_with_the_reasons_and_all_problems_are_written_down(
    tmp_path: Path, url: str, judge: Judge
) -> None:
    good = results(tmp_path).rename(tmp_path / "good.json")
    each: dict[str, dict[str, object]] = {f"_{number}": {"meta": {"category": "alchemy"}} for number in range(8)}
    bad = results(tmp_path, 8, **each)
    words = [f"bench.benchmark.drawn.mine={bad}", f"bench.benchmark.drawn.theirs={good}"]
    with pytest.raises(DataError, match=r"the arm mine: .*results\.json has no usable row") as caught:
        bench.run(knowgen(tmp_path, url, *words))
    said = str(caught.value).splitlines()
    listing = tmp_path / "run/bench/knowgen/problems.jsonl"
    assert said[1].endswith("results.json, line 1: row 0: meta.category: alchemy, which is none of KnowGen's")
    assert said[-2:] == ["  ... and 3 more", f"Mend it, or leave it out. All 8 problems are in {listing}"]
    assert len(listing.read_text().splitlines()) == 8
    assert sorted(judge.verdicts) == [str(number) for number in range(8)], "the other arm's are remembered"


def test_an_arm_none_of_whose_rows_was_chosen_says_so(tmp_path: Path, url: str) -> None:
    rows = json.loads(results(tmp_path).read_text())
    (tmp_path / "few.json").write_text(json.dumps(rows[5:7]))
    words = [f"bench.benchmark.drawn.few={tmp_path}/few.json", f"bench.benchmark.drawn.all={tmp_path}/results.json"]
    with pytest.raises(DataError, match=r"few: 2 more rows are there and left out, as bench\.tasks=2"):
        bench.run(knowgen(tmp_path, url, *words, "bench.tasks=2"))


def test_published_rows_none_of_which_can_be_used_are_refused_before_anybody_is_asked(
    tmp_path: Path, url: str, judge: Judge
) -> None:
    good = results(tmp_path, 2).rename(tmp_path / "good.json")
    bad = results(tmp_path, 2, _0={"gt_image": "gone.png"}, _1={"gt_image": "gone.png"})
    words = [f"bench.benchmark.rows=[{bad}]", f"bench.benchmark.drawn.mine={good}"]
    with pytest.raises(
        DataError, match=r"(?s)bench\.benchmark\.rows: .*results\.json has no usable row.*line 2: row 1: gt_"
    ):
        bench.run(knowgen(tmp_path, url, *words))
    assert judge.verdicts == []


def test_wise_pictures_are_scored_in_one_convention_and_the_others_scores_are_refused(
    tmp_path: Path, url: str, judge: Judge
) -> None:
    numbers = (1, 401, 521, 641, 761, 881)
    names = ("Cultural knowledge", "time", "Space", "Biology", "Physical Knowledge", "Chemistry")
    rows = [
        {"Prompt": f"Draw {n}.", "Explanation": "e", "Category": name, "Subcategory": "s", "prompt_id": n}
        for n, name in zip(numbers, names, strict=True)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "pictures").mkdir()
    for number in numbers[:-1]:
        Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(tmp_path / "pictures" / f"{number}.png")
    words = ["benchmark=wise_verified", f"bench.benchmark.rows=[{tmp_path}/rows.json]"]
    at = "bench.benchmark.judge"
    cfg = settings(tmp_path, url, *words, f"bench.benchmark.drawn.mine={tmp_path}/pictures", judge=at)
    assert list(preflight.problems(cfg, command="bench")) == []
    bench.run(cfg)
    arm = table(tmp_path, "wise-verified")["arms"][0]  # pyright: ignore[reportIndexIssue]
    assert arm["excluded"]["overall"] is None, "chemistry has no verdict"
    assert arm["zero"]["overall"]["value"] == pytest.approx(0.88)
    assert arm["failed"] == {"picture": 1}
    lines = (tmp_path / "run/bench/wise-verified/scores-mine.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"prompt_id": 1, "Subcategory": "s", "score": 1.0}
    (tmp_path / "legacy.jsonl").write_text('{"prompt_id": 1, "consistency": 2, "realism": 1, "aesthetic_quality": 1}')
    with pytest.raises(DataError, match="never mixed"):
        bench.run(settings(tmp_path, url, *words, f"bench.benchmark.scored.old={tmp_path}/legacy.jsonl", judge=at))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["benchmark=knowgen"], "there is nothing to score"),
        (["bench.arms=[]"], "there is nothing to compare"),
        (["benchmark=knowgen", "bench.arms=[sft]"], "bench.benchmark.rows: missing"),
        (["benchmark=wise_legacy", "bench.benchmark.drawn.a=."], "bench.benchmark.rows: missing"),
        (["benchmark=knowgen", "bench.benchmark.drawn.a=gone.json"], "there is no file gone.json"),
        (
            ["benchmark=knowgen", "bench.benchmark.drawn.a=.", "bench.benchmark.scored.a=."],
            "two arms are called 'a'",
        ),
    ],
)
def test_preflight_names_what_a_benchmark_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    cfg = load(["experiment=smoke", f"run_dir={tmp_path}/run", "bench.arms=[]", *words])
    found = list(preflight.problems(cfg, command="bench"))
    assert len(found) == 1, found
    assert said in found[0]
