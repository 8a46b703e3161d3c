"""Case 43: run directories, bundles and cassettes from strangers: ids that are paths, links, bombs, damaged bytes."""

from __future__ import annotations

import json
import random
import sqlite3
import zipfile
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.cassette.store import CassetteStore, Damaged, Entry
from gen_searcher.errors import LeaseHeld, UserError
from gen_searcher.image_store import ImageStore
from gen_searcher.ledger import payload
from gen_searcher.ledger.lease import RunLease
from gen_searcher.ledger.payload import Unreadable, pack_attempt, unpack_attempt
from gen_searcher.metrics.report import write_report
from gen_searcher.train.bundle import MANIFEST, StepParts, fill, pack, unpack
from gen_searcher.train.recorded import Attempts, step_lines
from gen_searcher.train.replay import Agreement
from gen_searcher.train.run import RunFolder
from gen_searcher.types import ImageRef, Task
from tests.ledger.groups import attempt
from tests.train import toy_run as toys
from tests.train.recorded_run import RecordedRun

pytestmark = pytest.mark.fault(43)

CLIMBING = ["../../x", "/etc/passwd", "..", "", "a\0b", "AB" * 32, "ab" * 32 + "/../x"]


@pytest.mark.parametrize("digest", CLIMBING)
def test_a_picture_or_a_configuration_is_looked_up_by_a_digest_or_not_at_all(tmp_path: Path, digest: str) -> None:
    store = ImageStore(tmp_path / "images")
    with pytest.raises(ValueError, match="is no digest of a picture"):
        store.get(ImageRef(sha256=digest, width_px=1, height_px=1))
    with pytest.raises(UserError, match="is no digest of a configuration"):
        RunFolder(root=tmp_path).step_config(digest)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def hostile_run(root: Path) -> RecordedRun:
    """A run whose record names a picture and a configuration outside of it, both of which are there."""
    run = RecordedRun.at(root / "run")
    group = await run.group("../../x")
    run.finish([group])
    run.train(1, [group])
    picture = group.attempts[0].image
    assert picture is not None
    outside = root / "secret.png"
    outside.write_bytes(run.store.path(picture).read_bytes())
    named = f"../../../{outside.stem}"
    lines = run.folder.attempts.read_text().replace(
        f'"image":{{"sha256":"{picture.sha256}"', f'"image":{{"sha256":"{named}"'
    )
    assert named in lines
    run.folder.attempts.write_text(lines)
    return run


async def test_a_record_that_names_pictures_outside_brings_none_of_them_into_report_replay_or_bundle(
    tmp_path: Path,
) -> None:
    run = await hostile_run(tmp_path)
    before = files(tmp_path)
    recorded = Attempts(run.folder.attempts).step(step_lines(run.folder)[1])
    hostile = recorded.groups[0].members[0].attempt.image
    assert hostile is not None
    step = await run.replayer().step(recorded)
    checks = [
        check for check in step.members[0].checks if check.what.startswith("picture") and "digest" in check.replayed
    ]
    assert [check.agreement for check in checks] == [Agreement.DIFFERS]
    assert "unreadable" in checks[0].replayed
    write_report(run.folder.root)
    run.folder.identity.write_text("{}")
    (run.folder.policy("sft")).mkdir(parents=True)
    parts = StepParts(recorded=recorded, config="a: 1\n", policy=run.folder.policy("sft"), pictures=[hostile])
    with pytest.raises(ValueError, match="is no digest of a picture"):
        fill(RunFolder(root=tmp_path / "target"), parts, source=run.folder)
    now = files(tmp_path)
    made = {name for name in now if name not in before}
    assert all(name.startswith(("run/", "target/")) for name in made), made
    assert all(now[name] == body for name, body in before.items())


async def test_a_step_that_names_a_configuration_outside_is_refused(tmp_path: Path) -> None:
    run = await hostile_run(tmp_path)
    recorded = Attempts(run.folder.attempts).step(step_lines(run.folder)[1])
    line = replace(recorded.line, config="../../../../tmp/evil")
    parts = StepParts(recorded=replace(recorded, line=line), config="a: 1\n", policy=tmp_path, pictures=[])
    with pytest.raises(UserError, match="is no digest of a configuration"):
        fill(RunFolder(root=tmp_path / "target"), parts, source=run.folder)


def test_tasks_whose_ids_are_paths_write_nothing_outside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ["../../x", "/etc/x", "a/../../b", "nul\0", "..", "C:\\x", "'; DROP TABLE instances; --", "\u202etxt"]
    tasks = [Task(id=name, prompt="draw", target=None, meta={}) for name in ids]
    monkeypatch.setattr(toys, "TASKS", tasks)
    root = tmp_path / "a" / "b" / "run"
    root.mkdir(parents=True)
    toys.toy_run(root, steps=2)
    assert {str(path.relative_to(tmp_path)).split("/")[0] for path in tmp_path.rglob("*")} == {"a"}
    assert [path.name for path in root.parent.iterdir()] == ["run"]
    with closing(sqlite3.connect(RunFolder(root=root).ledger)) as db:
        assert {row[0] for row in db.execute("SELECT task_id FROM instances")} <= set(ids)


def test_two_names_of_one_run_directory_are_one_run_directory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with RunLease.acquire(RunFolder(root=tmp_path / "link").leases, beat_s=0.01), pytest.raises(LeaseHeld):
        RunLease.acquire(RunFolder(root=tmp_path / "run").leases)


def test_a_link_in_the_place_of_a_checkpoint_is_not_followed_when_it_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    toys.toy_run(tmp_path / "run", steps=3)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    for name in ("step-9.partial", "step-9.old", "step-9"):
        link = RunFolder(root=tmp_path / "run").checkpoints.path / name
        link.symlink_to(precious)
        with pytest.raises(OSError, match="symbolic link"):
            toys.toy_run(tmp_path / "run", steps=5)
        link.unlink()
    assert (precious / "file").read_text() == "x"
    toys.toy_run(tmp_path / "run", steps=5)


def test_a_checkpoint_pointer_that_is_a_path_is_refused(tmp_path: Path) -> None:
    toys.toy_run(tmp_path, steps=3)
    for name in ("../../x", "step-", "step-3/../step-9", "step--3", ""):
        (RunFolder(root=tmp_path).checkpoints.path / "latest").write_text(name + "\n")
        with pytest.raises(UserError, match="which is not there; write the name of one that is into it"):
            toys.toy_run(tmp_path, steps=5)


def test_an_attempt_that_unpacks_to_more_than_any_attempt_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    body = pack_attempt(attempt("t", 1))
    assert unpack_attempt(body) == attempt("t", 1)
    monkeypatch.setattr(payload, "MAX_BYTES", 1 << 20)
    for bad in (zlib.compress(b" " * (2 << 20)), body[:-5], b"", b"x", zlib.compress(b"[" * 100_000)):
        with pytest.raises(Unreadable):
            unpack_attempt(bad)


@pytest.mark.parametrize(
    "change",
    [
        "sha256 = '../../../../../etc/passwd', body = NULL",
        "size = 9223372036854775807, body = NULL",
        "size = -5, body = NULL",
        "size = 'many'",
        "sha256 = x'00'",
        "body = 'text'",
    ],
)
def test_an_entry_of_a_strangers_cassette_is_damaged_and_nothing_else(tmp_path: Path, change: str) -> None:
    store = CassetteStore(tmp_path, max_bytes=1 << 30)
    store.put(Entry(key="k", kind="search", label="l", body=b"answer"))
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as db:
        db.execute(f"UPDATE answers SET {change}")
        db.commit()
    with pytest.raises(Damaged):
        store.get("k")
    store.close()


def damaged_bundles(sound: bytes) -> dict[str, bytes]:
    """A file with a flipped byte, and files cut short: a hundred of them."""
    flips = random.Random(7)
    found = {f"cut at {at}": sound[:at] for at in range(0, len(sound), max(1, len(sound) // 20))}
    for _ in range(80):
        at, bit = flips.randrange(len(sound)), 1 << flips.randrange(8)
        found[f"bit {bit} of byte {at}"] = sound[:at] + bytes([sound[at] ^ bit]) + sound[at + 1 :]
    return found


def test_a_damaged_bundle_is_a_users_error_wherever_it_is_damaged(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / MANIFEST).write_text('{"format": 1, "step": 1}\n')
    (source / "steps.jsonl").write_text("\n".join(json.dumps({"line": number}) for number in range(50)))
    (source / "a.png").write_bytes(bytes(range(256)))
    pack(source, tmp_path / "sound")
    for number, (harm, body) in enumerate(damaged_bundles((tmp_path / "sound").read_bytes()).items()):
        file, target = tmp_path / f"b{number}", tmp_path / f"t{number}"
        file.write_bytes(body)
        try:
            unpack(file, target)
        except UserError:
            continue
        intact = {name: content for name, content in files(target).items() if content == files(source).get(name)}
        assert len(intact) == 3, f"{harm}: taken, and not what was packed"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("manifest", ["", "[]", "{", "null", '{"format": []}', "[" * 100_000])
def test_a_bundle_whose_description_is_none_is_refused(tmp_path: Path, manifest: str) -> None:
    with zipfile.ZipFile(tmp_path / "b", "w") as archive:
        archive.writestr(MANIFEST, manifest)
    with pytest.raises(UserError):
        unpack(tmp_path / "b", tmp_path / "out")


def test_a_bundle_that_claims_more_than_the_disk_holds_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, '{"format": 1}')
        archive.writestr("a.json", b" " * 1000)
        archive.infolist()[1].file_size = 1 << 60
        archive.infolist()[1].extra = b""
    with pytest.raises(UserError, match=r"unpacks to \d+ MiB|cannot be read as a bundle"):
        unpack(tmp_path / "b", tmp_path / "out")
    assert not (tmp_path / "out" / "a.json").exists()


def test_a_link_in_a_bundle_becomes_a_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b", "w") as archive:
        archive.writestr(MANIFEST, '{"format": 1}')
        link = zipfile.ZipInfo("images")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    unpack(tmp_path / "b", tmp_path / "out")
    assert not (tmp_path / "out" / "images").is_symlink()
    assert (tmp_path / "out" / "images").read_text() == "/etc"
