"""A step in one file: the little of a run directory that its replay reads, zipped. No pickle; nothing in it is run.

run directory, RecordedStep -> folder of the same shape -> zip -> folder, replayed like a run
"""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import JsonValue, TypeAdapter

from gen_searcher.errors import UserError
from gen_searcher.image_store import ImageStore
from gen_searcher.train.recorded import RecordedStep
from gen_searcher.train.run import RunFolder
from gen_searcher.train.step_log import STEP_LINE
from gen_searcher.types import ImageRef

FORMAT = 1
MANIFEST = "bundle.json"
SUFFIXES = frozenset({".json", ".jsonl", ".yaml", ".txt", ".jinja", ".safetensors", ".png", ".sqlite", ""})
"""Of what a bundle may hold; no suffix: the checkpoints' pointer and the cassette's bodies."""
LOCK = ".lock"
"""What those who open a cassette together wait for; of no use to anybody else."""
_MANIFEST = TypeAdapter(dict[str, JsonValue])
_BROKEN = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
"""What a damaged archive raises, or one that is encrypted or packed by a method that we do not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParts:
    """What a bundle is made of beside the cassette and the learner's weights, which are written into the folder."""

    recorded: RecordedStep
    config: str
    """The step's configuration as text."""
    policy: Path
    """What the stage started from."""
    pictures: Iterable[ImageRef]


def fill(target: RunFolder, parts: StepParts, *, source: RunFolder) -> None:
    """Copy the step's share of the run `source` into the empty folder `target`."""
    line = parts.recorded.line
    for path in (target.steps, target.step_config(line.config), target.policy("sft")):
        path.parent.mkdir(parents=True, exist_ok=True)
    target.steps.write_bytes(STEP_LINE.dump_json(line) + b"\n")
    target.step_config(line.config).write_text(parts.config, encoding="utf-8")
    with target.attempts.open("wb") as attempts:
        for group in parts.recorded.groups:
            attempts.writelines(member.line + b"\n" for member in group.members)
    shutil.copyfile(source.identity, target.identity)
    target.policy("sft").mkdir()
    for file in parts.policy.iterdir():
        if file.is_file() and file.suffix in SUFFIXES:
            shutil.copyfile(file, target.policy("sft") / file.name)
    source_store, target_store = ImageStore(source.images), ImageStore(target.images)
    for picture in parts.pictures:
        path = target_store.path(picture)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source_store.path(picture), path)
    (target.root / MANIFEST).write_text(json.dumps({"format": FORMAT, "step": line.step}) + "\n", encoding="utf-8")


def pack(folder: Path, file: Path) -> None:
    """Zip the folder; the file appears under its name only when it is whole. Equal folders give equal bytes."""
    partial = file.with_name(file.name + ".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != LOCK):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            info.compress_type = zipfile.ZIP_STORED if path.suffix == ".png" else zipfile.ZIP_DEFLATED
            with path.open("rb") as content, archive.open(info, "w", force_zip64=True) as entry:
                shutil.copyfileobj(content, entry)
    partial.replace(file)


def unpack(file: Path, folder: Path) -> None:
    """Unzip a bundle into an empty folder, made when missing.

    Raises:
        UserError: It is not a bundle, is damaged, or does not fit on the disk.
    """
    try:
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            odd = [entry.filename for entry in entries if not _is_expected(entry.filename)]
            if odd or MANIFEST not in archive.namelist():
                raise UserError(
                    f"{file} is not a bundle of `gen-searcher replay`: {odd[0] if odd else 'no ' + MANIFEST}"
                )
            needed = sum(entry.file_size for entry in entries)
            free = shutil.disk_usage(folder).free
            if needed > free:
                raise UserError(
                    f"{file} unpacks to {needed >> 20} MiB; {folder} has {free >> 20} MiB free", exit_code=3
                )
            for entry in entries:
                archive.extract(entry, folder)  # no more than the entry's `file_size`, whatever it holds
        manifest = _MANIFEST.validate_json((folder / MANIFEST).read_bytes())
    except _BROKEN as error:
        raise UserError(f"{file} cannot be read as a bundle: {error}") from error
    found = manifest.get("format")
    if found != FORMAT:
        raise UserError(f"{file} is a bundle of format {found}; this version reads format {FORMAT}")


def _is_expected(name: str) -> bool:
    path = PurePosixPath(name)
    is_inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    return is_inside and path.suffix in SUFFIXES
