"""`gen-searcher grpo` on a run directory in which no step is left to make: nothing is raised, and nothing is lost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from gen_searcher.commands import grpo
from gen_searcher.config import load
from gen_searcher.engines import policy_export
from gen_searcher.errors import UserError
from gen_searcher.ledger.book import Ledger
from gen_searcher.ledger.lease import RunLease
from gen_searcher.train.run import RunFolder
from tests.train.toy_run import toy_run


class Raised(Exception):
    """The command wants a cluster."""


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path | None]]:
    """Checkpoints that were exported, with the policy they were trained from. A cluster is refused."""
    exported: list[tuple[Path, Path | None]] = []

    def cluster(*_: object, **__: object) -> None:
        raise Raised

    def export(checkpoint: Path, target: Path, *, base: Path | None = None) -> None:
        exported.append((checkpoint, base))
        target.mkdir()
        (target / "config.json").write_text(checkpoint.name)

    monkeypatch.setattr(grpo, "cluster_session", cluster)
    monkeypatch.setattr(policy_export, "export_checkpoint", export)
    return exported


def run_dir(tmp_path: Path, *, steps: int, max_staleness: int = 0) -> RunFolder:
    """A run that has ended after so many steps."""
    folder = RunFolder(root=tmp_path / "run")
    if steps:
        toy_run(folder.root, steps=steps, max_staleness=max_staleness, checkpoint_every_steps=2)
    policy = folder.policy("sft")
    policy.mkdir(parents=True)
    (policy / "config.json").write_text("{}")
    return folder


def start(folder: RunFolder, *, steps: int) -> None:
    cfg = load.load(["experiment=smoke", f"run_dir='{folder.root}'", "tasks.train_count=4", f"grpo.steps={steps}"])
    assert grpo.run(cfg) == 0


def exported(folder: RunFolder, *, mark: int | None = None) -> int:
    """What the books say; first writes `mark` into them."""
    with RunLease.acquire(folder.leases) as lease, closing(Ledger.open(folder.ledger, fence=lease)) as ledger:
        if mark is not None:
            ledger.mark_exported(mark)
        return ledger.exported


def test_the_same_command_after_the_end_leaves_the_lines_of_what_no_step_has_used(tmp_path: Path) -> None:
    folder = run_dir(tmp_path, steps=4, max_staleness=2)
    before = folder.attempts.read_bytes()
    assert b'"step":5,' in before, "groups had ended that no step waited for"
    start(folder, steps=4)
    assert folder.attempts.read_bytes() == before


@pytest.mark.parametrize(("steps", "mark"), [(5, 4), (4, 0)])
def test_a_run_with_steps_left_or_without_its_policy_goes_on(tmp_path: Path, steps: int, mark: int) -> None:
    folder = run_dir(tmp_path, steps=4)
    exported(folder, mark=mark)
    with pytest.raises(Raised):
        start(folder, steps=steps)


def test_fewer_steps_than_were_made_raise_nobody_and_the_policy_of_the_last_one_is_written_once(
    tmp_path: Path, written: list[tuple[Path, Path | None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = run_dir(tmp_path, steps=4)
    exported(folder, mark=0)
    old = folder.policy("grpo")
    old.mkdir(parents=True)
    (old / "of_an_earlier_start").touch()
    for _ in range(2):
        start(folder, steps=3)
    assert written == [(folder.checkpoints.folder(4), folder.policy("sft"))]
    assert [path.name for path in old.parent.glob("policy*")] == ["policy"]
    assert [path.name for path in old.iterdir()] == ["config.json"]
    assert exported(folder) == 4
    assert caplog.text.count("grpo has made 4 steps already and grpo.steps asks for 3") == 2
    assert "step 5 of 3" not in caplog.text
    folder.ledger.unlink()
    with pytest.raises(UserError, match="the ledger beside it never booked that step"):
        start(folder, steps=3)


def test_no_step_at_all_leaves_the_policy_of_sft_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    folder = run_dir(tmp_path, steps=0)
    start(folder, steps=0)
    assert "grpo.steps=0: nothing is trained, and the run's policy stays that of sft" in caplog.text
    assert not folder.policy("grpo").exists()
