from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from gen_searcher.errors import UserError
from gen_searcher.train.bundle import MANIFEST, StepParts, fill, pack, unpack
from gen_searcher.train.recorded import Attempts, step_lines
from gen_searcher.train.replay import Agreement, pictures_of
from gen_searcher.train.run import RunFolder
from tests.train.recorded_run import RecordedRun


async def filled(tmp_path: Path) -> tuple[RecordedRun, RunFolder]:
    """A run of two steps, and the folder of its second one."""
    run = RecordedRun.at(tmp_path / "run")
    first, second = await run.group("a"), await run.group("b", first_seed=11, version=1)
    run.finish([first, second])
    run.train(1, [first])
    run.train(2, [second])
    run.folder.identity.write_text('{"policy": "p"}')
    policy = run.folder.policy("sft")
    policy.mkdir(parents=True)
    (policy / "config.json").write_text("{}")
    (policy / "model.safetensors").write_bytes(bytes(range(256)))
    (policy / "notes.md").write_text("not part of a policy")
    recorded = run.recorded(2)
    pictures = {picture for member in recorded.groups[0].members for picture in pictures_of(member.attempt)}
    target = RunFolder(root=tmp_path / "target")
    parts = StepParts(recorded=recorded, config="a: 1\n", policy=policy, pictures=pictures)
    fill(target, parts, source=run.folder)
    return run, target


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_step_replays_from_the_file_alone(tmp_path: Path) -> None:
    run, target = await filled(tmp_path)
    pack(target.root, tmp_path / "step.bundle")
    unpack(tmp_path / "step.bundle", tmp_path / "elsewhere")
    again = RecordedRun.at(tmp_path / "elsewhere")
    assert list(step_lines(again.folder)) == [2]
    recorded = Attempts(again.folder.attempts).step(step_lines(again.folder)[2])
    assert recorded == run.recorded(2)
    step = await again.replayer().step(recorded)
    assert all(check.agreement is Agreement.EQUAL for member in step.members for check in member.checks)
    assert (again.folder.policy("sft") / "model.safetensors").read_bytes() == bytes(range(256))
    assert json.loads(again.folder.identity.read_text()) == {"policy": "p"}


async def test_a_bundle_holds_the_step_and_nothing_else(tmp_path: Path) -> None:
    run, target = await filled(tmp_path)
    pack(target.root, tmp_path / "step.bundle")
    names = zipfile.ZipFile(tmp_path / "step.bundle").namelist()
    assert sorted(name for name in names if not name.startswith("images/")) == [
        "bundle.json",
        "grpo/attempts.jsonl",
        f"grpo/configs/{step_lines(run.folder)[2].config}.yaml",
        "grpo/identity.json",
        "grpo/steps.jsonl",
        "sft/policy/config.json",
        "sft/policy/model.safetensors",
    ]
    assert sum(name.startswith("images/") for name in names) == 5, "three views and two drawings"
    assert len(target.attempts.read_text().splitlines()) == 3


async def test_the_same_step_gives_the_same_bytes(tmp_path: Path) -> None:
    _, target = await filled(tmp_path)
    (target.root / "index.lock").touch()  # of a cassette that is open: it stays behind
    pack(target.root, tmp_path / "one")
    (target.root / MANIFEST).touch()
    (target.root / "index.lock").unlink()
    pack(target.root, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert names_in(tmp_path) == ["one", "run", "target", "two"]


@pytest.mark.fault(43)
@pytest.mark.parametrize(
    "name", ["../evil.json", "/tmp/evil.json", "a/../../evil.json", "policy.pkl", "run.py", "a\\b.json"]
)
def test_a_file_that_could_reach_outside_or_be_run_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b", "w") as archive:
        archive.writestr(MANIFEST, '{"format": 1}')
        archive.writestr(name, "{}")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="is not a bundle"):
        unpack(tmp_path / "b", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_no_bundle_of_ours_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as a bundle"):
        unpack(tmp_path / "text", tmp_path)
    with pytest.raises(UserError, match="cannot be read as a bundle"):
        unpack(tmp_path / "absent", tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.json", "{}")
    with pytest.raises(UserError, match=r"no bundle\.json"):
        unpack(tmp_path / "other.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.writestr(MANIFEST, '{"format": 2}')
    with pytest.raises(UserError, match="format 2; this version reads format 1"):
        unpack(tmp_path / "new.zip", tmp_path)


async def test_a_bundle_with_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    _, target = await filled(tmp_path)
    pack(target.root, tmp_path / "b")
    body = bytearray((tmp_path / "b").read_bytes())
    with zipfile.ZipFile(tmp_path / "b") as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith(".png"))
    body[entry.header_offset + 30 + len(entry.filename) + 60] ^= 1
    (tmp_path / "b").write_bytes(body)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="cannot be read as a bundle"):
        unpack(tmp_path / "b", tmp_path / "out")
