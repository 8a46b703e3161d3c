"""The real vLLM, in this process, on a policy of half a million parameters."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gen_searcher.errors import WorldError
from gen_searcher.types import Finish, WeightSource
from tests.engines.vllm_bench import CONFIG, PICTURE, Bench, complete, opening

pytestmark = pytest.mark.filterwarnings("default")  # vLLM and torch deprecate things while they are imported


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("policy"))
    yield bench
    asyncio.run(bench.policy.close())


@pytest.mark.parametrize("temperature", [1.0, 0.6])
async def test_logprobs_of_a_conversation_with_pictures_equal_one_forward_pass(
    bench: Bench, temperature: float
) -> None:
    ids, images = opening(bench), ()
    sampled: dict[int, float] = {}
    for turn in range(4):
        completion = await complete(bench, ids, *images, seed=turn, temperature=temperature)
        sampled |= {len(ids) + i: logprob for i, logprob in enumerate(completion.logprobs)}
        pictures = tuple(bench.picture(10 * turn + i, width_px=64 + 32 * i) for i in range(2))
        images += pictures
        observation = "".join(f"Flag is IMG_{i:03d} {PICTURE}\n" for i in range(2))
        ids += completion.token_ids + bench.ids(f"\n<|im_start|>user\n{observation}<|im_end|>\n<|im_start|>assistant\n")
    recomputed = bench.recomputed(bench.model(), ids, images, temperature)
    assert len(sampled) > 60
    assert max(abs(recomputed[i] - logprob) for i, logprob in sampled.items()) < 1e-4


async def test_the_same_seed_gives_the_same_tokens_alone_and_in_a_crowd(bench: Bench) -> None:
    alone = await complete(bench, opening(bench), seed=5)
    crowd = await asyncio.gather(*(complete(bench, opening(bench), seed=seed) for seed in range(8)))
    assert crowd[5].token_ids == alone.token_ids
    assert len({completion.token_ids for completion in crowd}) == 8


async def test_prompts_that_one_engine_step_cannot_hold_are_sampled_as_each_of_them_alone(bench: Bench) -> None:
    words = ["flag", "capital", "river", "city", "colour", "motto"]
    asked = [bench.ids(f"{word} " * 800)[:900] for word in words]
    assert sum(map(len, asked)) > CONFIG.max_batched_tokens, "or every prompt is read in one piece"
    crowd = await asyncio.gather(*(complete(bench, ids, seed=5, max_tokens=8) for ids in asked))
    again = [await complete(bench, ids, seed=5, max_tokens=8) for ids in asked]
    assert [one.token_ids for one in crowd] == [one.token_ids for one in again]


async def test_swapping_two_pictures_changes_the_logprobs(bench: Bench) -> None:
    ids = bench.ids(f"<|im_start|>user\none {PICTURE} two {PICTURE}<|im_end|>\n<|im_start|>assistant\n")
    first, second = bench.picture(1), bench.picture(2)
    straight = await complete(bench, ids, first, second, max_tokens=1)
    swapped = await complete(bench, ids, second, first, max_tokens=1)
    repeated = await complete(bench, ids, first, second, max_tokens=1)
    assert abs(straight.logprobs[0] - swapped.logprobs[0]) > 1e-3
    assert abs(straight.logprobs[0] - repeated.logprobs[0]) < 1e-5


async def test_a_completion_ends_with_the_stop_token_it_sampled(bench: Bench) -> None:
    stops = {bench.tokenizer.token_to_id(token) for token in ("<|im_end|>", "<|endoftext|>")}
    runs = await asyncio.gather(
        *(complete(bench, opening(bench), max_tokens=300, seed=seed, temperature=2.0) for seed in range(24))
    )
    stopped = [run for run in runs if run.finish is Finish.STOP]
    assert len(stopped) >= 3
    assert all(run.token_ids[-1] in stops and not stops & set(run.token_ids[:-1]) for run in stopped)


async def test_only_stop_tokens_among_the_special_ones_can_be_sampled(bench: Bench) -> None:
    runs = await asyncio.gather(
        *(complete(bench, opening(bench), max_tokens=200, seed=seed, temperature=2.0) for seed in range(24))
    )
    sampled = {token for run in runs for token in run.token_ids}
    assert len(bench.policy.banned_token_ids) == 12
    assert len(sampled) > 200
    assert not sampled & set(bench.policy.banned_token_ids)


async def test_requests_in_flight_go_on_under_new_weights(bench: Bench, tmp_path: Path) -> None:
    before = bench.folder / "model.safetensors"
    after = tmp_path / "v1.safetensors"
    generator = torch.Generator().manual_seed(0)
    save_file(
        {name: t + 0.02 * torch.randn(t.shape, generator=generator) for name, t in load_file(before).items()}, after
    )
    ids = bench.ids(f"<|im_start|>user\none {PICTURE}<|im_end|>\n<|im_start|>assistant\n")
    picture = bench.picture(3)
    long = [
        asyncio.create_task(complete(bench, ids, picture, max_tokens=300, seed=100 + i, temperature=0.7))
        for i in range(6)
    ]
    await complete(bench, ids, picture, max_tokens=20, seed=1, temperature=0.7)
    await bench.policy.load_weights(1, WeightSource(path=str(after)))
    runs = await asyncio.gather(*long)
    fresh = await complete(bench, ids, picture, seed=9)
    old, new = bench.model(), bench.model(after)
    crossed = [run for run in runs if set(run.versions) == {0, 1}]
    assert len(crossed) >= 2
    for run in crossed:
        assert list(run.versions) == sorted(run.versions)
        expected = {
            version: bench.recomputed(model, ids + run.token_ids, (picture,), 0.7)[len(ids) :]
            for version, model in ((0, old), (1, new))
        }
        errors = [abs(expected[v][i] - run.logprobs[i]) for i, v in enumerate(run.versions)]
        assert max(errors) < 1e-4
        assert max(abs(expected[0][i] - run.logprobs[i]) for i, v in enumerate(run.versions) if v == 1) > 1e-2
    assert set(fresh.versions) == {1}
    expected_fresh = bench.recomputed(new, ids + fresh.token_ids, (picture,))[len(ids) :]
    assert fresh.logprobs == pytest.approx(expected_fresh, abs=1e-4)
    await bench.policy.load_weights(0, WeightSource(path=str(before)))


async def test_a_file_of_another_model_is_refused_and_the_old_weights_stay(bench: Bench, tmp_path: Path) -> None:
    reference = await complete(bench, opening(bench), seed=4)
    weights = load_file(bench.folder / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, tmp_path / "partial.safetensors")
    with pytest.raises(ValueError, match=r"missing \['lm_head.weight'\]"):
        await bench.policy.load_weights(7, WeightSource(path=str(tmp_path / "partial.safetensors")))
    again = await complete(bench, opening(bench), seed=4)
    assert (again.token_ids, set(again.versions)) == (reference.token_ids, {0})


async def test_placeholders_that_do_not_match_the_pictures_are_refused(bench: Bench) -> None:
    ids = bench.ids(f"one {PICTURE}")
    with pytest.raises(ValueError, match="1 image placeholders for 0 pictures"):
        await complete(bench, ids)
    with pytest.raises(ValueError, match="1 image placeholders for 2 pictures"):
        await complete(bench, ids, bench.picture(1), bench.picture(2))
    with pytest.raises(ValueError, match="video placeholder"):
        await complete(bench, bench.ids("<|vision_start|><|video_pad|><|vision_end|>"))


async def test_a_picture_that_would_be_resized_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="multiples of 32 px"):
        await complete(bench, bench.ids(f"one {PICTURE}"), bench.picture(1, width_px=80))


async def test_a_prompt_without_room_is_refused_and_one_with_little_is_cut(bench: Bench) -> None:
    word = bench.ids("flag")[:1]
    with pytest.raises(ValueError, match="1024 tokens of a context of 1024: no room"):
        await complete(bench, word * 1024)
    cut = await complete(bench, word * 1020, max_tokens=50, temperature=0.2)
    assert len(cut.token_ids) <= 4
    pictures = (bench.picture(1, width_px=512, height_px=512),) * 4
    with pytest.raises(ValueError, match="1032 tokens of a context"):
        await complete(bench, bench.ids(PICTURE * 4), *pictures)


async def test_a_cancelled_completion_leaves_the_others_running(bench: Bench) -> None:
    reference = await complete(bench, opening(bench), seed=6, max_tokens=60)
    cancelled = asyncio.create_task(complete(bench, opening(bench), seed=7, max_tokens=900))
    kept = asyncio.create_task(complete(bench, opening(bench), seed=6, max_tokens=60))
    await complete(bench, opening(bench), seed=8, max_tokens=5)
    cancelled.cancel()
    assert (await kept).token_ids == reference.token_ids
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_a_broken_weight_file_kills_the_engine_and_says_so(tmp_path: Path, bench: Bench) -> None:
    """Last in this module: it uses the engine up."""
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((bench.folder / "model.safetensors").read_bytes()[:-1000])
    waiting = asyncio.create_task(complete(bench, opening(bench), seed=7, max_tokens=900, temperature=0.3))
    await complete(bench, opening(bench), seed=8, max_tokens=5)
    with pytest.raises(WorldError, match=r"policy: loading .*broken\.safetensors failed"):
        await bench.policy.load_weights(2, WeightSource(path=str(broken)))
    with pytest.raises(WorldError, match="policy: the engine died"):
        await waiting
    with pytest.raises(WorldError, match="policy: the engine is dead"):
        await complete(bench, opening(bench))
