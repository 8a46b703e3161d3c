"""Stage 7: placed rows -> the files that training and benchmarks read.

sft.jsonl + sft_images/    conversations with pictures (`sft.demonstrations`, LLaMA-Factory)
rl.jsonl  + gt/            requests with ground truths and facts (`tasks.train`)
heldout.jsonl              the same, never trained on (`tasks.heldout`)
rl_published.json, knowgen.json    the two in the published forms: arrays, numbered
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from gen_searcher.data.rows import Placed, Reject, StageName
from gen_searcher.data.sharegpt import Conversation, check_conversation, write_conversations
from gen_searcher.data.stage import DataFolder, Inputs, StageReport, write_lines, write_stage
from gen_searcher.errors import DataError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Facts

SFT, RL, HELDOUT = "sft.jsonl", "rl.jsonl", "heldout.jsonl"
RL_PUBLISHED, KNOWGEN = "rl_published.json", "knowgen.json"
_FACTS = TypeAdapter(Facts)


def export(inputs: Inputs[Placed], *, folder: DataFolder, store: ImageStore) -> StageReport:
    """Write all data sets; each file appears when it is whole, its pictures before it."""
    rejects = list(inputs.rejects)
    conversations: list[Conversation] = []
    tasks: dict[str, list[Placed]] = {RL: [], HELDOUT: []}
    exported: list[bytes] = []
    for row in inputs.rows:
        value = row.value
        if value.split == "sft":
            work = value.work
            one = Conversation(words=work.messages, images=work.images, where=value.proposal.id)
            try:
                check_conversation(one)
            except DataError as error:
                bad = Reject(stage=StageName.EXPORT, id=value.proposal.id, reason="unwritable", details=str(error))
                rejects.append(bad)
                continue
            conversations.append(one)
        else:
            tasks[RL if value.split == "rl" else HELDOUT].append(value)
        exported.append(json.dumps({"id": value.proposal.id, "split": value.split}).encode())
    out = folder.export
    out.mkdir(parents=True, exist_ok=True)
    write_conversations(out / SFT, conversations, store=store)
    for name, published in ((RL, RL_PUBLISHED), (HELDOUT, KNOWGEN)):
        pictures = [_placed(row, out, store) for row in tasks[name]]
        lines = [_task(row, picture) for row, picture in zip(tasks[name], pictures, strict=True)]
        write_lines(out / name, [json.dumps(line, ensure_ascii=False).encode() for line in lines])
        _write_array(out / published, lines)
    taken = len(inputs.rows) + len(inputs.rejects)
    return write_stage(folder, StageName.EXPORT, exported, rejects, taken=taken)


def _placed(row: Placed, out: Path, store: ImageStore) -> str:
    """Put the ground truth beside the file and return its name there."""
    name = f"gt/{row.picture.image.sha256}.png"
    target = out / name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        part = target.with_suffix(".part")
        shutil.copyfile(store.path(row.picture.image), part)
        part.replace(target)
    return name


def _task(row: Placed, picture: str) -> dict[str, object]:
    """A row of a task file."""
    proposal = row.proposal
    return {
        "id": proposal.id,
        "prompt": proposal.prompt,
        "meta": dict(proposal.meta),
        "gt_image": picture,
        "facts": _FACTS.dump_python(proposal.facts, mode="json"),
    }


def _write_array(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """The same rows as they are published: numbered from 1, their own ids beside, without facts."""
    rows = [
        {"id": number, **{key: line[key] for key in ("prompt", "meta", "gt_image")}, "source_id": line["id"]}
        for number, line in enumerate(lines, start=1)
    ]
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
