"""`gen-searcher world ...`: the embedded world's data, tasks, painter and server."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gen_searcher.config.root import RunConfig

log = logging.getLogger(__name__)


def build(cfg: RunConfig) -> int:
    """Rebuild the package data from its pinned sources, into `run_dir`; the same sources give the same bytes."""
    from gen_searcher.world.build.pack import build as build_pack

    out = _out(cfg)
    with tempfile.TemporaryDirectory(prefix="gs-world-") as cache:
        build_pack(out, Path(cache), log.info)
    sys.stdout.write(f"{out}\n")
    return 0


def tasks(cfg: RunConfig) -> int:
    """Write the embedded world's task files and ground-truth pictures to `run_dir/tasks`."""
    from gen_searcher.commands.workplace import Workplace

    place = Workplace.open(cfg)
    for split in ("train", "heldout"):
        sys.stdout.write(f"{len(place.tasks(split))} {split} tasks in {place.folder.tasks / f'{split}.jsonl'}\n")
    return 0


def train_painter(cfg: RunConfig) -> int:
    """Train the embedded generator on the world's pictures, into `run_dir`."""
    from gen_searcher.engines.painter_training import train_painter as train

    out = _out(cfg)
    train(
        out,
        vae_minutes=cfg.painter.vae_minutes,
        dit_minutes=cfg.painter.dit_minutes,
        polish_minutes=cfg.painter.polish_minutes,
        table_pictures=cfg.painter.table_pictures,
        start_from=cfg.painter.start_from,
        threads=cfg.painter.threads,
        seed=cfg.seed,
        log=log.info,
    )
    sys.stdout.write(f"{out}\n")
    return 0


def ledger(cfg: RunConfig) -> int:
    """Write what `search.adversity` harms to `run_dir/adversity.jsonl`: the pages themselves never say so."""
    from pydantic import TypeAdapter

    from gen_searcher.world.adversity import Harm, adverse_world

    path = _out(cfg) / "adversity.jsonl"
    line = TypeAdapter(Harm)
    harms = adverse_world(cfg.search.adversity).ledger
    path.write_bytes(b"".join(line.dump_json(harm) + b"\n" for harm in harms))
    for kind, count in sorted(Counter(harm.kind for harm in harms).items()):
        sys.stdout.write(f"{kind}: {count}\n")
    sys.stdout.write(f"{path}\n")
    return 0


def serve(cfg: RunConfig) -> int:
    """Serve the embedded world on loopback until interrupted, as adverse as it is set; prints where."""
    from gen_searcher.world.adversity import adverse_world
    from gen_searcher.world.server import EmbeddedServer

    async def forever() -> None:
        web = adverse_world(cfg.search.adversity)
        address = await EmbeddedServer(web.world, service=web.service).start()
        sys.stdout.write(f"http://{address.host}:{address.port}  (ask with a Host header, e.g. geography.mini.web)\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(forever())
    return 0


def _out(cfg: RunConfig) -> Path:
    out = cfg.run_dir.resolve()
    out.mkdir(exist_ok=True)
    return out
