"""A real run under `ray job submit` with planted keys: none in its directory, in Ray's logs, or in Ray's list of jobs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gen_searcher.testing.chat_server import ChatReply, ChatRequest, completion, problem
from tests.e2e.ray_head import Head, ray_head
from tests.e2e.test_outage import TEXT_JUDGE, serving

pytestmark = [pytest.mark.fault(44), pytest.mark.slow, pytest.mark.timeout(1200)]

REFERENCED = "canary-of-the-judge-9f31c7"
UNREFERENCED = "canary-of-the-machine-5531"
IN_FILE = "canary-in-a-file-77ab02"
EVERY = 4
"""Every so many questions the judge's server fails, with the key in its words."""


class Echo:
    """A judge's server that repeats the key, in verdicts and in errors."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.asked = 0

    async def __call__(self, request: ChatRequest) -> ChatReply:
        self.asked += 1
        self.keys.add(request.authorization)
        if self.asked % EVERY == 0:
            return problem(500, code=None, message=f"could not serve {request.authorization}")
        verdict = {"rationale": f"You are {request.authorization}", "score": self.asked % 5 / 4}
        return completion(json.dumps(verdict), model=f"m {request.authorization}")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_SETTING", REFERENCED)
    monkeypatch.setenv("SOMEBODYS_API_KEY", UNREFERENCED)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gs-head-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def holding(root: Path) -> dict[str, list[str]]:
    """Files with a canary in them."""
    found: dict[str, list[str]] = {}
    for path in root.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode(errors="replace")
            if names := [canary for canary in (REFERENCED, UNREFERENCED, IN_FILE) if canary in text]:
                found[str(path.relative_to(root))] = names
    return found


def submitted(head: Head, *words: str) -> str:
    done = head.submit("gen-searcher", *words, timeout_s=1100)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout + done.stderr


def test_planted_keys_turn_up_nowhere(planted: None, folder: Path, tmp_path: Path) -> None:
    run_dir, key = tmp_path / "run", tmp_path / "key"
    key.write_text(IN_FILE)
    model = Echo()
    with serving(model) as base_url, ray_head(folder) as head:  # type: ignore[arg-type]  # any model will do
        common = ("experiment=smoke", "cluster=auto", f"run_dir={run_dir}")
        server = f"{{base_url: '{base_url}', model: m, tries: 1, key: 'env:JUDGE_SETTING'}}"
        shadow = f"{{base_url: '{base_url}', model: m, tries: 1, key: 'file:{key}'}}"
        said = submitted(
            head,
            "bench",
            *common,
            "bench.arms=[no-search]",
            "bench.tasks=8",
            "cassette.mode=auto",
            f"judges.text={{_target_: {TEXT_JUDGE}, server: {server}}}",
            f"reward.shadow_judges.second={{_target_: {TEXT_JUDGE}, server: {shadow}}}",
            "reward.shadow_frac=1.0",
        )
        listed = subprocess.run(
            [str(Path(sys.executable).parent / "ray"), "job", "list", "--address", head.address, "--log-style=record"],
            env=head.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        report = subprocess.run(
            [sys.executable, "-m", "gen_searcher", "report", str(run_dir)], capture_output=True, text=True, check=True
        )
        logs = sorted(path.name for path in folder.rglob("*") if path.is_file())
        assert model.keys == {f"Bearer {REFERENCED}", f"Bearer {IN_FILE}"}, "both keys were used"
        assert any(name.startswith("runtime_env_agent") for name in logs)
        assert "env:JUDGE_SETTING" in listed.stdout, "the command is listed"
        assert holding(folder) == {}
    assert holding(run_dir) == {}
    for text in (said, listed.stdout, listed.stderr, report.stdout, report.stderr):
        assert not any(canary in text for canary in (REFERENCED, UNREFERENCED, IN_FILE))
    attempts = [json.loads(line) for line in (run_dir / "bench" / "attempts-no-search.jsonl").read_text().splitlines()]
    for kind in ("attempt", "lost"):
        assert "[secret]" in json.dumps([line for line in attempts if line["kind"] == kind]), kind
    assert "[secret]" in (run_dir / "report.html").read_text()
