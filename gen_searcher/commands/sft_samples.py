"""What SFT learns from: the configured file, or the teacher's demonstrations -> samples within the cutoff."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gen_searcher.agent.render import Renderer
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.sft import SftConfig
from gen_searcher.data.demonstrations import Demonstration, LabelledSample, read_demonstrations
from gen_searcher.data.sharegpt import PictureRules, is_sharegpt, read_sharegpt, write_sharegpt
from gen_searcher.errors import ConfigError, DataError
from gen_searcher.train.sft import demonstration_samples, find_overlong, refuse_overlong
from gen_searcher.types import Sample

log = logging.getLogger(__name__)


def read_samples(path: Path, place: Workplace, *, renderer: Renderer) -> list[LabelledSample]:
    """All samples of a file of either format.

    Raises:
        DataError: Names file and row.
        ConfigError: The file is ShareGPT already and was to be exported.
    """
    sft = place.cfg.sft
    is_share = is_sharegpt(path) if sft.demonstrations_format == "auto" else sft.demonstrations_format == "sharegpt"
    log.info("reading %s from %s", "ShareGPT conversations" if is_share else "demonstrations", path)
    if not is_share:
        return own_samples(read_demonstrations(path), place, renderer=renderer)
    if sft.export_sharegpt is not None:
        raise ConfigError(f"sft.export_sharegpt: {path} is a ShareGPT file already; set it to null")
    return read_sharegpt(
        path, renderer=renderer, pictures=PictureRules(store=place.store, max_pixels=sft.image_max_pixels)
    )


def own_samples(
    demonstrations: Sequence[Demonstration], place: Workplace, *, renderer: Renderer
) -> list[LabelledSample]:
    """Demonstrations as samples; also written as ShareGPT when that is asked for."""
    export = place.cfg.sft.export_sharegpt
    if export is not None:
        write_sharegpt(export, demonstrations, renderer=renderer, store=place.store)
        log.info("%d demonstrations are in %s as ShareGPT", len(demonstrations), export)
    return demonstration_samples(demonstrations)


def within_cutoff(samples: Sequence[LabelledSample], sft: SftConfig, *, report: Path) -> list[Sample]:
    """The samples that are short enough; what is left out is counted in the log and listed in `report`.

    Raises:
        DataError: A sample is too long and `sft.overlong` is `refuse`, or nothing is left.
    """
    cutoff = sft.cutoff_tokens
    found = find_overlong(samples, cutoff_tokens=cutoff)
    if sft.overlong == "refuse":
        refuse_overlong(found, cutoff_tokens=cutoff)
    elif found:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("".join(json.dumps({**asdict(each), "cutoff_tokens": cutoff}) + "\n" for each in found))
        log.warning("%d of %d samples are over %d tokens and left out: %s", len(found), len(samples), cutoff, report)
    gone = {each.label for each in found}
    kept = [each.sample for each in samples if each.label not in gone]
    if not kept:
        raise DataError(f"all {len(samples)} samples are over the cutoff of {cutoff} tokens; raise sft.max_tokens")
    return kept
