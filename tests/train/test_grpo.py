from __future__ import annotations

import pytest

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.grpo.select import has_signal
from gen_searcher.train.attempt import GroupRules
from gen_searcher.train.grpo import GrpoRules, step_batch
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.stream import StreamRules
from tests.grpo.groups import group


def rules(**masks: object) -> GrpoRules:
    return GrpoRules(
        steps=1,
        row_tokens=100,
        objective=ObjectiveConfig.model_validate({"masks": masks}),
        group=GroupRules(size=3, tries=1, deadline_s=1.0),
        stream=StreamRules(groups_per_step=1, max_staleness=0, max_dropped=1, outage=OutageRules(max_lost_frac=1.0)),
        max_gap_nats=None,
        keep=has_signal,
        seed=0,
    )


@pytest.mark.parametrize(("counted", "samples"), [(False, 2), (True, 3)])
def test_a_masked_attempt_takes_no_room_and_counts_where_it_is_told_to(counted: bool, samples: int):
    batch = step_batch([group(1.0, 0.0, 0.5)], rules(worthless=True, counted=counted))
    assert [sample.advantage for row in batch.rows for sample in row] == pytest.approx([1.0, 0.0], abs=3e-6)
    assert batch.trained_tokens == 2 * 3
    assert batch.samples == samples


def test_without_masks_a_batch_holds_every_scored_attempt():
    batch = step_batch([group(1.0, 0.0), group(0.5, 0.25, lost=1)], rules())
    assert batch.samples == 4
    assert sum(len(row) for row in batch.rows) == 4
    assert batch.trained_tokens == 4 * 3
