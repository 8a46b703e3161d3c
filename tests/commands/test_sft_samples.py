from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from gen_searcher.commands.sft_samples import within_cutoff
from gen_searcher.config import load
from gen_searcher.config.optim import OptimConfig
from gen_searcher.config.sft import SftConfig
from gen_searcher.data.demonstrations import LabelledSample
from gen_searcher.errors import DataError
from gen_searcher.types import ImageRef, Sample


def labelled(label: str, tokens: int, *images: ImageRef) -> LabelledSample:
    sample = Sample(
        token_ids=(1,) * tokens, loss_mask=(True,) * tokens, logprobs=(0.0,) * tokens, images=images, advantage=1.0
    )
    return LabelledSample(label=label, sample=sample)


PICTURE = ImageRef(sha256="0" * 64, width_px=64, height_px=96)  # 6 tokens, 5 more than its placeholder
SAMPLES = [labelled("file, row 1", 100), labelled("file, row 2", 96, PICTURE), labelled("file, row 3", 130)]


def test_a_sample_over_the_cutoff_is_refused_by_name(tmp_path: Path) -> None:
    sft = SftConfig(max_tokens=100)
    with pytest.raises(DataError, match=r"file, row 2: 101 tokens, .* cutoff is 100 \(2 such samples\).*overlong=drop"):
        within_cutoff(SAMPLES, sft, report=tmp_path / "dropped.jsonl")


def test_dropped_samples_are_counted_and_listed_and_the_others_are_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sft = SftConfig(max_tokens=101, overlong="drop")
    report = tmp_path / "sft" / "dropped.jsonl"
    with caplog.at_level(logging.WARNING):
        kept = within_cutoff(SAMPLES, sft, report=report)
    assert [len(sample.token_ids) for sample in kept] == [100, 96]
    assert "1 of 3 samples are over 101 tokens and left out" in caplog.text
    assert [json.loads(line) for line in report.read_text().splitlines()] == [
        {"label": "file, row 3", "tokens": 130, "cutoff_tokens": 101}
    ]
    with pytest.raises(DataError, match="all 1 samples are over the cutoff of 101 tokens"):
        within_cutoff(SAMPLES[2:], sft, report=report)


def test_without_a_cutoff_of_its_own_a_row_is_the_limit() -> None:
    assert SftConfig(optim=OptimConfig(row_tokens=512)).cutoff_tokens == 512
    with pytest.raises(ValidationError, match=r"max_tokens=600 is more than optim\.row_tokens=512"):
        SftConfig(max_tokens=600, optim=OptimConfig(row_tokens=512))


def test_the_papers_warm_up_is_a_share_of_the_steps() -> None:
    sft = load.load(["experiment=paper_sft"]).sft
    optim = sft.optim.model_copy(update={"total_steps": 2501})
    assert optim.lr_at(49) == pytest.approx(1e-5 * 50 / 51)  # 0.02 * 2501 = 50.02
    assert optim.lr_at(50) == pytest.approx(1e-5)
    assert optim.lr_at(2501) == 0.0
    assert (sft.epochs, sft.batch_samples, sft.cutoff_tokens, sft.image_max_pixels) == (2, 8, 32768, 160_000)
    assert (optim.weight_decay, optim.zero_stage, optim.dtype) == (1e-6, 3, "bfloat16")
