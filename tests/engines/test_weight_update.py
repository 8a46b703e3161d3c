"""New weights under a live engine with tied embeddings: every part of the model changes, at the token it says."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from gen_searcher.types import Completion, ImageRef, WeightSource
from tests.engines.vllm_bench import CONFIG, PICTURE, Bench, complete

if TYPE_CHECKING:
    from transformers import Qwen3VLForConditionalGeneration

pytestmark = pytest.mark.filterwarnings("default")  # vLLM and torch deprecate things while they are imported

TIED = CONFIG.model_copy(
    update={
        "small": CONFIG.small.model_copy(update={"tied_embeddings": True}),
        "max_concurrent_requests": 8,
        "retries": 0,
    }
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("policy"), TIED)
    yield bench
    asyncio.run(bench.policy.close())


def shaken(bench: Bench, path: Path, *, seed: int, part: str = "", std: float = 0.05) -> Path:
    """The base weights with noise on every tensor whose name holds `part`."""
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(bench.folder / "model.safetensors")
    assert "lm_head.weight" not in tensors
    hit = [name for name in tensors if part in name]
    assert hit
    save_file(
        {n: t + std * torch.randn(t.shape, generator=generator) if n in hit else t for n, t in tensors.items()}, path
    )
    return path


async def load(bench: Bench, version: int, path: Path) -> None:
    await bench.policy.load_weights(version, WeightSource(path=str(path)))


async def load_base(bench: Bench) -> None:
    await load(bench, 0, bench.folder / "model.safetensors")


def gaps(
    bench: Bench,
    model: Qwen3VLForConditionalGeneration,
    ids: tuple[int, ...],
    images: tuple[ImageRef, ...],
    run: Completion,
) -> list[float]:
    """How far each reported log-probability is from plain transformers on these weights."""
    expected = bench.recomputed(model, ids + run.token_ids, images, 0.7)[len(ids) :]
    return [abs(mine - theirs) for mine, theirs in zip(expected, run.logprobs, strict=True)]


async def ask(bench: Bench, ids: tuple[int, ...], *images: ImageRef, seed: int, max_tokens: int = 16) -> Completion:
    return await complete(bench, ids, *images, seed=seed, max_tokens=max_tokens, temperature=0.7, top_p=0.95)


@pytest.mark.parametrize(
    "part", ["visual.patch_embed", "visual.merger", "visual.deepstack_merger_list", "embed_tokens"]
)
async def test_a_part_that_changed_in_the_file_has_changed_in_the_engine(
    bench: Bench, tmp_path: Path, part: str
) -> None:
    """The same prompt before and after: neither prefix nor picture features of the old weights may be reused."""
    path = shaken(bench, tmp_path / "new.safetensors", seed=1, part=part)
    base, new = bench.model(), bench.model(path)
    ids = bench.ids(f"<|im_start|>user\none {PICTURE} two {PICTURE}<|im_end|>\n<|im_start|>assistant\n")
    images = (bench.picture(1), bench.picture(2, width_px=96))
    before = await ask(bench, ids, *images, seed=1)
    assert max(gaps(bench, base, ids, images, before)) < 1e-4
    await load(bench, 1, path)
    after = await ask(bench, ids, *images, seed=1)
    assert set(after.versions) == {1}
    assert max(gaps(bench, new, ids, images, after)) < 1e-4
    assert max(gaps(bench, base, ids, images, after)) > 1e-2
    await load_base(bench)
    again = await ask(bench, ids, *images, seed=1)
    assert again.token_ids == before.token_ids
    assert again.logprobs == pytest.approx(before.logprobs, abs=1e-5)


async def test_new_vision_weights_leave_a_conversation_without_pictures_as_it_was(bench: Bench, tmp_path: Path) -> None:
    ids = bench.ids("<|im_start|>user\nno picture here<|im_end|>\n<|im_start|>assistant\n")
    before = await ask(bench, ids, seed=2)
    await load(bench, 1, shaken(bench, tmp_path / "new.safetensors", seed=2, part="visual."))
    after = await ask(bench, ids, seed=2)
    assert after.token_ids == before.token_ids
    assert after.logprobs == pytest.approx(before.logprobs, abs=1e-5)
    await load_base(bench)


async def test_second_turns_in_flight_change_weights_twice_at_the_tokens_they_name(
    bench: Bench, tmp_path: Path
) -> None:
    """Their pictures lie in a cached prefix, which is dropped under them; each token matches the weights it names."""
    files = [
        bench.folder / "model.safetensors",
        shaken(bench, tmp_path / "v1.safetensors", seed=3, std=0.02),
        shaken(bench, tmp_path / "v2.safetensors", seed=4, std=0.02),
    ]
    start = bench.ids(f"<|im_start|>user\n{'look again ' * 20}{PICTURE}<|im_end|>\n<|im_start|>assistant\n")
    first = bench.picture(3)
    said = await ask(bench, start, first, seed=5)
    observation = f"<|im_end|>\n<|im_start|>user\nand {PICTURE} here<|im_end|>\n<|im_start|>assistant\n"
    ids = start + said.token_ids + bench.ids(observation)
    images = (first, bench.picture(4, width_px=96))
    flights = [asyncio.create_task(ask(bench, ids, *images, seed=10 + n, max_tokens=300)) for n in range(6)]
    for version in (1, 2):
        await ask(bench, ids, *images, seed=6, max_tokens=25)
        await load(bench, version, files[version])
    runs = await asyncio.gather(*flights)
    models = [bench.model(path) for path in files]
    crossed = [run for run in runs if set(run.versions) == {0, 1, 2}]
    assert len(crossed) >= 2
    for run in runs:
        assert list(run.versions) == sorted(run.versions)
        by_version = [gaps(bench, model, ids, images, run) for model in models]
        assert max(by_version[version][place] for place, version in enumerate(run.versions)) < 1e-4
        for version in set(run.versions) - {0}:
            places = [place for place, found in enumerate(run.versions) if found == version]
            assert len(places) < 3 or max(by_version[version - 1][place] for place in places) > 1e-2
    await load_base(bench)


async def test_no_request_is_lost_to_updates_and_cancelled_neighbours(bench: Bench, tmp_path: Path) -> None:
    """With `retries` 0 a request that the engine drops raises; a dead engine would fail them all."""
    files = [shaken(bench, tmp_path / f"v{n}.safetensors", seed=20 + n, std=0.02) for n in (1, 2, 3)]
    pictures = [bench.picture(30 + n, width_px=64 + 32 * (n % 2)) for n in range(4)]

    async def conversation(number: int) -> int:
        ids, images, turns = bench.ids(f"<|im_start|>user\ntask {number} "), (), 0
        for turn in range(3):
            ids += bench.ids(f"look {PICTURE}<|im_end|>\n<|im_start|>assistant\n")
            images += (pictures[(number + turn) % 4],)
            said = await ask(bench, ids, *images, seed=100 * number + turn, max_tokens=25)
            ids += said.token_ids + bench.ids("<|im_end|>\n<|im_start|>user\n")
            turns += 1
        return turns

    working = [asyncio.create_task(conversation(number)) for number in range(10)]
    for version, path in enumerate(files, start=1):
        await ask(bench, bench.ids("tick"), seed=version, max_tokens=12)
        working[3 * version - 1].cancel()
        await load(bench, version, path)
    ended = await asyncio.gather(*working, return_exceptions=True)
    assert [index for index, turns in enumerate(ended) if isinstance(turns, asyncio.CancelledError)] == [2, 5, 8]
    assert [turns for turns in ended if not isinstance(turns, asyncio.CancelledError)] == [3] * 7
    fresh = await ask(bench, bench.ids("tock"), seed=1)
    assert set(fresh.versions) == {3}
    assert max(gaps(bench, bench.model(files[-1]), bench.ids("tock"), (), fresh)) < 1e-4
    await load_base(bench)
