"""Checkpoints as folders for others: transformers loads them, vLLM loads them, adapters are merged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from shutil import copytree
from typing import cast

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gen_searcher.agent.render import Renderer
from gen_searcher.config.optim import LoraConfig, OptimConfig
from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines.learner_rank import LearnerRank
from gen_searcher.engines.policy_export import export_checkpoint
from gen_searcher.engines.policy_files import checkpoint_names
from gen_searcher.engines.qwen_forward import PackedPolicy, Qwen3VLForConditionalGeneration, load_qwen
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.errors import UserError
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.tensors import image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Prompt, Sample, Sampling

pytestmark = pytest.mark.filterwarnings("default")

LORA = LoraConfig(rank=4, alpha=64.0)


def demonstration(renderer: Renderer, image: ImageRef) -> Sample:
    """A request with a picture, answered; the answer is trained."""
    from gen_searcher.agent.render import Picture

    opening = renderer.opening(system="look", task="draw a flag")
    shown = renderer.observation(["a flag", Picture()], closes_turn=False)
    answer = tuple(opening[-6:])
    ids = (*opening, *shown, *answer)
    mask = (*(False,) * (len(ids) - len(answer)), *(True,) * len(answer))
    return Sample(token_ids=ids, loss_mask=mask, logprobs=(0.0,) * len(ids), images=(image,), advantage=1.0)


class Trained:
    """A small policy after one step with adapters and a frozen tower, which both have to come out right."""

    def __init__(self, root: Path) -> None:
        self.policy = root / "policy"
        self.checkpoint = root / "checkpoints" / "step-1"
        self.store = ImageStore(root / "images")
        build_small_policy(
            self.policy, config=SmallPolicyConfig(vocab=512), corpus=[f"draw a flag {n}" for n in range(300)]
        )
        self.sample = demonstration(Renderer.load(self.policy), self.store.put(Image.new("RGB", (64, 32), "red")))
        optim = OptimConfig(lr=0.05, dtype="float32", row_tokens=512, lora=LORA)
        self.published = root / "published.safetensors"
        # In a process of its own: vLLM makes process groups in this one, and DeepSpeed remembers what others destroyed.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
            before, after = child.submit(_train, self, optim).result()
        assert max(abs(a - b) for a, b in zip(before, after, strict=True)) > 0.05


def _train(trained: Trained, optim: OptimConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """One step, a checkpoint and published weights; the log-probabilities before and after."""
    learner = LearnerRank(trained.policy, optim=optim, store=trained.store)
    batch = pack([trained.sample], row_tokens=512)
    (before,) = learner.logprobs(batch.rows)
    learner.step(batch.rows, trained_tokens=batch.trained_tokens, samples=1, mode="sft")
    learner.save(trained.checkpoint)
    learner.export(trained.published)
    (after,) = learner.logprobs(batch.rows)
    return before, after


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def exported(trained: Trained) -> Path:
    target = trained.policy.parent / "exported"
    export_checkpoint(trained.checkpoint, target)
    return target


def test_the_folder_is_the_base_policy_with_other_weights(trained: Trained, exported: Path):
    assert {f.name for f in exported.iterdir()} == {f.name for f in trained.policy.iterdir()}
    base, new = load_file(trained.policy / "model.safetensors"), load_file(exported / "model.safetensors")
    assert base.keys() == new.keys()
    changed = {name for name in base if not torch.equal(base[name], new[name])}
    assert len(changed) == 4 * 7  # the adapted layers, merged; the vision tower, embeddings and norms stand still
    assert all(".language_model.layers." in name for name in changed)


def test_what_is_published_and_what_is_exported_are_the_same_weights(trained: Trained, exported: Path):
    published, new = load_file(trained.published), load_file(exported / "model.safetensors")
    assert published.keys() == new.keys()
    assert max(float((published[name] - new[name]).abs().max()) for name in new) < 1e-6


def test_a_copy_of_the_tied_output_head_is_not_exported_since_it_is_of_before_the_training(
    trained: Trained, tmp_path: Path
):
    base, target = tmp_path / "base", tmp_path / "exported"
    copytree(trained.policy, base)
    weights = load_file(base / "model.safetensors")
    copy = weights["model.language_model.embed_tokens.weight"].clone()
    save_file({**weights, "lm_head.weight": copy}, base / "model.safetensors")
    export_checkpoint(trained.checkpoint, target, base=base)
    assert load_file(target / "model.safetensors").keys() == weights.keys() == checkpoint_names(base)


def test_transformers_loads_every_weight_of_an_export_in_parts(trained: Trained, exported: Path, tmp_path: Path):
    export_checkpoint(trained.checkpoint, tmp_path / "parts", part_bytes=1 << 20)
    index = json.loads((tmp_path / "parts" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    loaded: object = Qwen3VLForConditionalGeneration.from_pretrained(exported, output_loading_info=True)
    whole, info = cast("tuple[Qwen3VLForConditionalGeneration, Mapping[str, object]]", loaded)
    parts = Qwen3VLForConditionalGeneration.from_pretrained(tmp_path / "parts")
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for (name, left), right in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert torch.equal(left, right), name


async def test_vllm_loads_the_folder_and_says_what_the_learner_says(trained: Trained, exported: Path):
    engine = await VllmPolicy.start(
        exported, config=PolicyConfig(max_context_tokens=512, kv_cache_mib=64), store=trained.store
    )
    try:
        split = trained.sample.loss_mask.index(True)
        said = await engine.complete(
            Prompt(token_ids=trained.sample.token_ids[:split], images=trained.sample.images),
            Sampling(max_tokens=1, seed=0, temperature=0.0),
        )
    finally:
        await engine.close()
    token = Sample(
        token_ids=(*trained.sample.token_ids[:split], said.token_ids[0]),
        loss_mask=(*(False,) * split, True),
        logprobs=(0.0,) * (split + 1),
        images=trained.sample.images,
        advantage=1.0,
    )
    policy = PackedPolicy(load_qwen(exported, dtype=torch.float32), banned_ids=engine.banned_token_ids, chunk_tokens=64)
    image_token = int(policy.model.config.image_token_id)
    row = row_tensors((token,), image_token_id=image_token, pixels=lambda ref: image_patches(trained.store.get(ref)))
    with torch.no_grad():
        learned = float(policy(row, 1.0)[0])
    assert learned == pytest.approx(said.logprobs[0], abs=1e-3)


def test_an_existing_target_and_a_lost_base_are_user_errors(trained: Trained, exported: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"exists; name another folder with export\.folder"):
        export_checkpoint(trained.checkpoint, exported)
    with pytest.raises(UserError, match=r"say where it is now with export\.base"):
        export_checkpoint(trained.checkpoint, tmp_path / "new", base=tmp_path)
    with pytest.raises(UserError, match="this is not a checkpoint"):
        export_checkpoint(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
