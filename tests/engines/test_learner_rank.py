from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.engines.qwen_forward import PackedPolicy, load_qwen
from gen_searcher.engines.rank_group import meet
from gen_searcher.grpo.loss import row_loss
from gen_searcher.grpo.objectives.tokens import PolicyTokens
from gen_searcher.grpo.tensors import image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Sample
from tests.engines.learner_setup import IMAGE_TOKEN, mixed_samples, save_tiny
from tests.engines.rank_worker import BANNED, OPTIM, TEMPERATURE

RANKS_S = 300
"""Longest that the processes of one learner may take."""
WORKER = Path(__file__).with_name("rank_worker.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the processes of one learner wrote down."""

    folder: Path

    def of(self, scenario: str, *, rank: int = 0) -> dict[str, list[float]]:
        return cast("dict[str, list[float]]", json.loads((self.folder / f"{scenario}-{rank}.json").read_text()))

    def metrics(self, scenario: str) -> dict[str, float]:
        return cast("dict[str, float]", self.of(scenario)["metrics"])

    def gradient(self, checkpoint: str) -> torch.Tensor:
        """The first step's gradient, flat: AdamW's first average after one step is (1 - beta) times it."""
        return flat(self.state(checkpoint, "exp_avg")) / (1.0 - OPTIM.betas[0])

    def state(self, checkpoint: str, kind: str) -> dict[str, torch.Tensor]:
        """One of the float32 numbers that a checkpoint keeps of each weight."""
        found: dict[str, torch.Tensor] = {}
        for file in sorted((self.folder / checkpoint).glob("state-*.safetensors")):
            tensors = load_file(file)
            found |= {name.removeprefix(f"{kind}/"): t for name, t in tensors.items() if name.startswith(f"{kind}/")}
        return found


def flat(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def run_ranks(scenarios: str, folder: Path, *, world: int, **settings: object) -> Said:
    if not (folder / "policy").is_dir():
        save_tiny(folder / "policy")
    meeting = meet("127.0.0.1", world=world)
    ranks = [
        subprocess.Popen(
            [
                sys.executable,
                str(WORKER),
                scenarios,
                str(rank),
                str(world),
                str(meeting.port),
                str(folder),
                json.dumps(settings),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=RANKS_S)
        assert rank.returncode == 0, errors[-3000:]
    return Said(folder=folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Said:
    return run_ranks("plain+resumed+uneven+imitation+sequences", tmp_path_factory.mktemp("alone"), world=1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Said:
    return run_ranks("plain+resumed+uneven+sequences", tmp_path_factory.mktemp("pair"), world=2)


def torch_gradient(policy: Path, store: ImageStore, samples: list[Sample]) -> torch.Tensor:
    """The same step's gradient by PyTorch alone: each sample by itself, logits in full, no DeepSpeed."""
    model = load_qwen(policy, dtype=torch.float32)
    for sample in samples:
        row = row_tensors((sample,), image_token_id=IMAGE_TOKEN, pixels=lambda ref: image_patches(store.get(ref)))
        text_only = not sample.images
        logits = model(
            input_ids=row.input_ids[None, :-1] if text_only else row.input_ids[None],
            position_ids=row.positions[:, None, :-1] if text_only else row.positions[:, None],
            pixel_values=None if text_only else row.patches,
            image_grid_thw=None if text_only else row.grids,
            cu_seq_lens_q=torch.tensor([0, len(row.input_ids) - text_only], dtype=torch.int32),
            max_length_q=len(row.input_ids) - text_only,
            use_cache=False,
        ).logits[0]
        keep = torch.ones(logits.shape[-1], dtype=torch.bool)
        keep[list(BANNED)] = False
        table = (logits / TEMPERATURE).masked_fill(~keep, -torch.inf).log_softmax(-1)
        tokens = PolicyTokens(
            logprobs=table[row.predictors, row.targets], old_logprobs=row.old_logprobs, advantages=row.advantages
        )
        loss = row_loss(tokens, objective=DEFAULT_OBJECTIVE, denominator=len(samples)).loss
        loss.backward()
    return flat({name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()})


def largest_difference(left: Path, right: Path) -> float:
    a, b = load_file(left), load_file(right)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_the_gradient_of_a_step_is_that_of_plain_pytorch(alone: Said):
    store = ImageStore(alone.folder / "images")
    expected = torch_gradient(alone.folder / "policy", store, mixed_samples(store))
    found = alone.gradient("after-1")
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert alone.of("plain")["norms"][0] == pytest.approx(float(expected.double().norm()), rel=1e-5)


def test_two_ranks_one_of_them_with_a_row_without_pictures_are_one(alone: Said, pair: Said):
    one, two = alone.of("plain"), pair.of("plain")
    gradient, both = alone.gradient("after-1"), pair.gradient("after-1")
    assert (both - gradient).abs().max() < 1e-6 * gradient.abs().max()
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert two["losses"][0] == pytest.approx(one["losses"][0], abs=1e-6)
    assert two["norms"][0] == pytest.approx(one["norms"][0], rel=1e-6)
    assert largest_difference(pair.folder / "after-2.safetensors", alone.folder / "after-2.safetensors") < 2e-3


def test_both_ranks_report_the_same(pair: Said):
    first, second = pair.of("plain", rank=0), pair.of("plain", rank=1)
    assert first["losses"] == second["losses"]
    assert first["norms"] == second["norms"]


def test_a_rank_with_nothing_but_padding_changes_nothing(alone: Said, pair: Said):
    one, two = alone.gradient("uneven"), pair.gradient("uneven")
    assert float(one.abs().max()) > 1e-3
    assert (two - one).abs().max() < 1e-6 * one.abs().max()


def test_a_failed_attempt_earns_a_gradient(alone: Said):
    assert alone.of("uneven")["norms"][0] > 0.1


@pytest.mark.parametrize("ranks", ["alone", "pair"])
def test_a_resumed_learner_takes_the_same_steps_to_the_bit(ranks: str, request: pytest.FixtureRequest):
    said = cast("Said", request.getfixturevalue(ranks))
    assert said.of("resumed")["losses"] == said.of("plain")["losses"][1:]
    assert said.of("resumed")["norms"] == said.of("plain")["norms"][1:]
    assert largest_difference(said.folder / "resumed-3.safetensors", said.folder / "after-3.safetensors") == 0.0


@pytest.mark.parametrize(("saved_by", "resumed_by"), [("pair", 1), pytest.param("alone", 2, marks=pytest.mark.slow)])
def test_another_number_of_ranks_takes_the_step_that_would_have_come(
    saved_by: str, resumed_by: int, request: pytest.FixtureRequest, tmp_path: Path
):
    before = cast("Said", request.getfixturevalue(saved_by))
    for name in ("policy", "after-1", "images"):
        shutil.copytree(before.folder / name, tmp_path / name)
    said = run_ranks("resumed", tmp_path, world=resumed_by)
    assert said.of("resumed")["losses"][0] == pytest.approx(before.of("plain")["losses"][1], abs=1e-6)
    assert said.of("resumed")["norms"][0] == pytest.approx(before.of("plain")["norms"][1], rel=1e-5)
    assert said.of("resumed")["losses"] == pytest.approx(before.of("plain")["losses"][1:], rel=1e-4)


def test_a_checkpoint_is_shards_and_a_note_without_pickle(pair: Said):
    folder = pair.folder / "after-1"
    names = {"state-0-of-2.safetensors", "state-1-of-2.safetensors", "trainer.json"}
    assert {file.name for file in folder.iterdir()} == names
    trainer = json.loads((folder / "trainer.json").read_text())
    assert trainer["steps_done"] == 1
    assert trainer["lr_next"] == pytest.approx(0.5 * OPTIM.lr)
    assert trainer["base"] == str(pair.folder / "policy")
    sizes = [(folder / f"state-{rank}-of-2.safetensors").stat().st_size for rank in range(2)]
    assert max(sizes) < 1.2 * min(sizes)
    assert (pair.folder / "latest").read_text().strip() == "uneven"
    assert not list(pair.folder.glob("*.partial"))


def test_exported_names_are_those_of_hugging_face(alone: Said):
    exported = load_file(alone.folder / "after-2.safetensors")
    base = load_file(alone.folder / "policy" / "model.safetensors")
    assert exported.keys() == base.keys()
    assert "model.language_model.embed_tokens.weight" in exported
    assert all(exported[name].shape == base[name].shape for name in base)


def test_reported_metrics_count_over_all_ranks(alone: Said, pair: Said):
    one, two = alone.metrics("plain"), pair.metrics("plain")
    for name in (
        "entropy_nats",
        "clipped_low_frac",
        "clipped_high_frac",
        "kl_nats",
        "mismatch_nats",
        "ratio_max",
        "lr",
    ):
        assert two[f"learner/{name}"] == pytest.approx(one[f"learner/{name}"], rel=1e-5), name
    assert one["learner/clipped_low_frac"] > 0
    assert one["learner/clipped_high_frac"] > 0
    assert one["learner/lr"] == pytest.approx(OPTIM.lr / OPTIM.warmup_steps)


def test_an_objective_of_sequences_with_a_reference_is_the_same_on_two_ranks(alone: Said, pair: Said):
    one, two = alone.of("sequences"), pair.of("sequences")
    assert two["losses"][0] == pytest.approx(one["losses"][0], rel=1e-5)
    assert two["norms"] == pytest.approx(one["norms"], rel=1e-4)
    for when in ("metrics", "later"):
        ours, theirs = (cast("dict[str, float]", said[when]) for said in (one, two))
        for name in ("reference_kl_nats", "weight_mean", "weight_bound_frac"):
            assert theirs[f"learner/{name}"] == pytest.approx(ours[f"learner/{name}"], rel=1e-3, abs=1e-9), name


def test_the_reference_is_the_policy_that_training_started_from(alone: Said):
    said = alone.of("sequences")
    first, later = (cast("dict[str, float]", said[when]) for when in ("metrics", "later"))
    assert first["learner/reference_kl_nats"] == 0.0
    assert later["learner/reference_kl_nats"] > 1e-4
    assert 0 < first["learner/weight_bound_frac"] < 1
    assert "learner/reference_kl_nats" not in alone.metrics("plain")
    assert alone.metrics("plain")["learner/weight_mean"] == 1.0


def test_scored_logprobs_are_those_of_the_packed_policy_and_imitation_raises_them(alone: Said):
    store = ImageStore(alone.folder / "images")
    samples = mixed_samples(store)
    policy = PackedPolicy(load_qwen(alone.folder / "policy", dtype=torch.float32), banned_ids=BANNED, chunk_tokens=7)
    row = row_tensors(tuple(samples), image_token_id=IMAGE_TOKEN, pixels=lambda ref: image_patches(store.get(ref)))
    with torch.no_grad():
        expected, _ = policy(row, TEMPERATURE)
    scored = cast("list[list[float]]", alone.of("plain")["logprobs"])
    assert [len(part) for part in scored] == [sample.trained_tokens for sample in samples]
    assert torch.tensor([lp for part in scored for lp in part]) == pytest.approx(expected, abs=1e-5)
    losses = alone.of("imitation")["losses"]
    assert losses[0] > 4.5
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_what_the_start_and_a_step_no_longer_use_of_a_gpu_is_free_for_an_engine_beside_it(tmp_path: Path):
    assert run_ranks("gives_back", tmp_path, world=1).of("gives_back") == {"started": 1, "stepped": 1, "exported": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "dtype"), [(2, "float32"), (3, "float32"), (1, "bfloat16"), (2, "bfloat16"), (3, "bfloat16")]
)
def test_every_zero_stage_and_dtype_steps_and_resumes_on_two_ranks(alone: Said, tmp_path: Path, stage: int, dtype: str):
    said = run_ranks("plain+resumed+uneven", tmp_path, world=2, zero_stage=stage, dtype=dtype)
    tolerance = 1e-4 if dtype == "float32" else 0.1
    assert said.of("plain")["losses"][0] == pytest.approx(alone.of("plain")["losses"][0], rel=tolerance)
    assert said.of("plain")["norms"][0] == pytest.approx(alone.of("plain")["norms"][0], rel=tolerance)
    assert said.of("resumed")["losses"] == said.of("plain")["losses"][1:]
    assert largest_difference(said.folder / "resumed-3.safetensors", said.folder / "after-3.safetensors") == 0.0
