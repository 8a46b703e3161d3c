"""What the real vLLM reports under top-p, top-k and min-p, against the same softmax cut by hand."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from tests.engines.vllm_bench import PICTURE, Bench, complete, opening

pytestmark = pytest.mark.filterwarnings("default")  # vLLM and torch deprecate things while they are imported


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("policy"))
    yield bench
    asyncio.run(bench.policy.close())


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0


PAPER = Filters(top_p=0.95)
MIXED = [
    Filters(),
    PAPER,
    Filters(temperature=1.3, top_p=0.4),
    Filters(top_k=3),
    Filters(min_p=0.2),
    Filters(temperature=1.0, top_p=0.8, top_k=20, min_p=0.02),
    Filters(temperature=0.0),
    Filters(temperature=0.0, top_p=0.5),
]


def survivors(chances: torch.Tensor, filters: Filters) -> torch.Tensor:
    """[V] which tokens may be drawn: min-p first, then top-k, then top-p of what is left."""
    kept = chances >= filters.min_p * chances.max()
    if filters.top_k is not None:
        kept &= chances >= chances.sort(descending=True).values[filters.top_k - 1]
    if filters.top_p < 1.0:
        order = torch.where(kept, chances, 0.0).sort(descending=True)
        shares = order.values / order.values.sum()
        before = shares.cumsum(0) - shares
        kept[order.indices[before >= filters.top_p]] = False
    return kept & (chances > 0)


async def test_full_logprobs_and_kept_mass_are_those_computed_by_hand_in_one_mixed_batch(bench: Bench) -> None:
    ids = bench.ids(f"<|im_start|>user\none {PICTURE} two<|im_end|>\n<|im_start|>assistant\n")
    picture, model = bench.picture(5), bench.model()
    runs = await asyncio.gather(
        *(
            complete(
                bench,
                ids,
                picture,
                max_tokens=30,
                seed=seed,
                temperature=each.temperature,
                top_p=each.top_p,
                top_k=each.top_k,
                min_p=each.min_p,
            )
            for seed, each in enumerate(MIXED)
        )
    )
    for filters, run in zip(MIXED, runs, strict=True):
        rows = bench.whole(model, ids + run.token_ids, (picture,), filters.temperature or 1.0)[len(ids) :].double()
        for place, token in enumerate(run.token_ids):
            chances = rows[place].exp()
            if filters.temperature == 0.0:
                assert token == int(chances.argmax())
                kept_mass = 1.0
            else:
                kept = survivors(chances, filters)
                assert kept[token]
                kept_mass = float(chances[kept].sum())
            assert run.logprobs[place] == pytest.approx(float(rows[place, token]), abs=1e-4)
            assert run.log_kept[place] == pytest.approx(math.log(kept_mass), abs=1e-4)
    by_filters = dict(zip(MIXED, runs, strict=True))
    assert set(by_filters[Filters()].log_kept) == {0.0}
    assert set(by_filters[Filters(temperature=0.0)].log_kept) == {0.0}
    assert min(by_filters[PAPER].log_kept) < -0.01
    assert min(by_filters[PAPER].log_kept) > math.log(0.95) - 1e-4
    assert all(len(run.log_kept) == len(run.token_ids) for run in runs)


async def test_at_the_papers_temperature_and_top_p_tokens_come_as_often_as_reported(bench: Bench) -> None:
    """Each token is drawn with probability exp(logprob - log_kept): the reported ones add up to 1 and are met."""
    ids, draws = opening(bench), 600
    runs = await asyncio.gather(
        *(complete(bench, ids, max_tokens=1, seed=seed, temperature=0.7, top_p=0.95) for seed in range(draws))
    )
    counts = Counter(run.token_ids[0] for run in runs)
    reported = {run.token_ids[0]: math.exp(run.logprobs[0] - run.log_kept[0]) for run in runs}
    chances = bench.whole(bench.model(), (*ids, ids[0]), (), 0.7)[-1].double().exp()
    kept = survivors(chances, PAPER)
    assert len(counts) >= 3
    assert sum(reported.values()) <= 1.0 + 1e-5
    for token in kept.nonzero()[:, 0].tolist():
        truth = float(chances[token] / chances[kept].sum())
        assert abs(counts[token] - draws * truth) < 4.5 * math.sqrt(draws * truth * (1.0 - truth)) + 1.0
        assert reported.get(token, truth) == pytest.approx(truth, abs=1e-4)
    assert all(bool(kept[token]) for token in counts)


async def test_the_reported_numbers_do_not_depend_on_who_else_is_in_the_batch(bench: Bench) -> None:
    ids = opening(bench)
    alone = await complete(bench, ids, seed=3, temperature=0.7, top_p=0.95)
    crowd = await asyncio.gather(
        complete(bench, ids, seed=4),
        complete(bench, ids, seed=3, temperature=0.7, top_p=0.95),
        complete(bench, ids, seed=5, temperature=0.0),
        complete(bench, ids, seed=6, top_k=2),
    )
    assert crowd[1].token_ids == alone.token_ids
    assert crowd[1].log_kept == pytest.approx(alone.log_kept, abs=1e-5)
    assert set(crowd[0].log_kept) == {0.0}
