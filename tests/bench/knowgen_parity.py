"""The reference's own KnowGen evaluation and ours on the same 50 rows, against one local judge that gives fixed scores.

    git clone https://github.com/tulerfeng/Gen-Searcher /tmp/reference      # anywhere outside this tree
    python -m tests.bench.knowgen_parity /tmp/reference/KnowGen_Eval/gpt_eval_knowgen.py

The script needs the packages `openai` and `tqdm`. Both sides run as their users run them: theirs as a script, ours as
`gen-searcher bench benchmark=knowgen`. 40 rows get a verdict, 16 of them one to which text does not apply. The other ten
must end in no figure on either side: three were not drawn, two have no picture, one has no ground truth, two have a
category that KnowGen does not know, two get a verdict that cannot be used.

Theirs rounds each split's means to four digits, then K, then the mean of the splits; ours rounds nothing. The last line
is one JSON object: `judged_theirs`, `judged_ours`, `max_difference` (all figures, 0..1, ours unrounded) and `is_same`:
ours, rounded where theirs rounds, is equal in every figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from gen_searcher.bench.scheme import POP, POP_CATEGORIES, SCIENCE, SCIENCE_CATEGORIES
from gen_searcher.rewards.verdict import WEIGHTS
from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion

ROWS = 50
NOT_DRAWN, NO_PICTURE, NO_TRUTH, NO_CATEGORY, NO_VERDICT = (0, 1, 2), (3, 4), (5,), (6, 7), (8, 9)
THEIRS = {"science_and_knowledge": SCIENCE, "pop_culture_and_news": POP}
LEVELS = (0.0, 0.5, 1.0)

Verdict = Mapping[str, float | None]


def make_rows(folder: Path, *, seed: int) -> dict[int, Verdict]:
    """Write `results.json` with its pictures, as the reference's second stage leaves them; returns each row's verdict."""
    pick = random.Random(seed)
    rows: list[dict[str, object]] = []
    verdicts: dict[int, Verdict] = {}
    categories = [*sorted(SCIENCE_CATEGORIES), *sorted(POP_CATEGORIES)]
    for number in range(ROWS):
        category = "alchemy" if number in NO_CATEGORY else categories[number * 7 % len(categories)]
        for name in ("gt", "out"):
            picture = Image.new("RGB", (24, 16), tuple(pick.randrange(256) for _ in range(3)))
            if not (name == "gt" and number in NO_TRUTH) and not (name == "out" and number in NO_PICTURE):
                picture.save(folder / f"{name}-{number}.png")
        rows.append(
            {
                "id": number,
                "prompt": f"Row {number}: draw it.",
                "meta": {"category": category.title() if number % 2 else category, "difficulty": "easy"},
                "gt_image": f"gt-{number}.png",
                "output_path": f"out-{number}.png",
                "success": number not in NOT_DRAWN,
            }
        )
        verdict: dict[str, float | None] = {name: pick.choice(LEVELS) for name in WEIGHTS}
        if number >= 10 and number % 5 in (0, 3):
            verdict["text_accuracy"] = None
        verdicts[number] = verdict
    (folder / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    return verdicts


class FixedJudge:
    """Answers by the row's number, in the form that the asker reads."""

    def __init__(self, verdicts: Mapping[int, Verdict]) -> None:
        self._verdicts = verdicts

    async def __call__(self, request: ChatRequest) -> ChatReply:
        found = re.search(r"Row (\d+): draw it", request.text)
        assert found is not None, request.text
        number = int(found[1])
        verdict: dict[str, object] = {"rationale": "As fixed.", **self._verdicts[number]}
        if "response_format" not in request.body:
            is_na = verdict["text_accuracy"] is None
            verdict |= {"text_accuracy_na": is_na, "text_accuracy": 0.5 if is_na else verdict["text_accuracy"]}
        if number in NO_VERDICT:
            verdict["faithfulness"] = "high"
        return completion(json.dumps(verdict))


async def run(*words: str) -> float:
    """Run a program to its end; returns its seconds."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{output.decode()[-3000:]}")
    return time.perf_counter() - started


def theirs(path: Path) -> dict[str, dict[str, float]]:
    """Part -> figure -> value of the three summary rows."""
    rows = [row for row in json.loads(path.read_text(encoding="utf-8")) if "summary_type" in row]
    return {THEIRS.get(row["summary_type"], "overall"): {**row["avg_scores"], "count": row["count"]} for row in rows}


def ours(path: Path) -> dict[str, dict[str, float]]:
    """The same from our table, 0..1, not rounded."""
    arm = json.loads(path.read_text(encoding="utf-8"))["arms"][0]
    figures = arm["excluded"]
    found: dict[str, dict[str, float]] = {}
    for part, means in figures["dimensions"].items():
        k_score = figures["overall"] if part == "overall" else figures["strata"][part]
        found[part] = {**{name: mean / 100 for name, mean in means.items()}, "overall": k_score["value"] / 100}
    found["overall"]["count"] = arm["judged"]
    return found


def rounded(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Ours, rounded where theirs rounds: the means, K of the rounded means, then the mean of the rounded splits."""
    splits: dict[str, dict[str, float]] = {}
    for part in (SCIENCE, POP):
        means = {name: round(found[part][name], 4) for name in WEIGHTS}
        splits[part] = {**means, "overall": round(sum(share * means[name] for name, share in WEIGHTS.items()), 4)}
    both = {name: round((splits[SCIENCE][name] + splits[POP][name]) / 2, 4) for name in splits[SCIENCE]}
    return {**splits, "overall": both}


async def compare(script: Path, folder: Path, *, seed: int) -> dict[str, object]:
    """Run both and print them side by side."""
    verdicts = make_rows(folder, seed=seed)
    async with LocalChatServer(FixedJudge(verdicts)) as server:
        output = folder / "theirs.json"
        args = ["--results", str(folder / "results.json"), "--output-json", str(output)]
        their_s = await run(sys.executable, str(script), *args, "--api-key", "none", "--api-base", server.base_url)
        asked_theirs = len(server.requests)
        our_s = await run(
            *(sys.executable, "-m", "gen_searcher", "bench", "experiment=smoke", f"run_dir={folder}/run"),
            *("benchmark=knowgen", "bench.arms=[]", f"bench.benchmark.drawn.mine={folder}/results.json"),
            *("judge=openai", f"judges.image.server.base_url={server.base_url}", "judges.image.server.key=null"),
            *("bench.tasks=null", "judges.image.server.tries=1"),
        )
        asked_ours = len(server.requests) - asked_theirs
    left, right = theirs(output), ours(folder / "run" / "bench" / "knowgen" / "standings.json")
    exact = rounded(right)
    differences: list[float] = []
    sys.stdout.write(f"{'part':<22}{'figure':<20}{'theirs':>9}{'ours':>12}\n")
    for part, names in exact.items():
        for name in names:
            sys.stdout.write(f"{part:<22}{name:<20}{left[part][name]:>9.4f}{right[part][name]:>12.6f}\n")
            differences.append(abs(left[part][name] - right[part][name]))
    return {
        "rows": ROWS,
        "judged_theirs": left["overall"]["count"],
        "judged_ours": right["overall"]["count"],
        "asked_theirs": asked_theirs,
        "asked_ours": asked_ours,
        "max_difference": max(differences),
        "is_same": all(exact[part][name] == left[part][name] for part in exact for name in exact[part]),
        "theirs_s": round(their_s, 2),
        "ours_s": round(our_s, 2),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; 1 when the summaries differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path, help="the reference's gpt_eval_knowgen.py")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="gs-parity-") as folder:
        found = asyncio.run(compare(options.script.resolve(), Path(folder), seed=options.seed))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["is_same"] and found["judged_theirs"] == found["judged_ours"] else 1


if __name__ == "__main__":
    sys.exit(main())
