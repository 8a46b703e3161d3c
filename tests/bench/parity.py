"""Are the numbers right? `python -m tests.bench.parity [--quick]`.

Loss and every parameter's gradient of each objective, in float64 on ragged samples of two turns, against trl where it has the
objective (pip install 'gen_searcher[bench]'; without it that part is left out and said so) and against loops written by
hand; packed rows with pictures against one sample a row; and vLLM's log-probabilities against the learner's on
rollouts of four turns with pictures. Prints a table and, as the last line, the largest differences as JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.engines.qwen_forward import PackedPolicy, Qwen3VLForConditionalGeneration, load_qwen
from gen_searcher.grpo.loss import row_loss, step_denominator
from gen_searcher.grpo.objectives.tokens import PolicyTokens, segment_ids
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.tensors import RowTensors, image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Sample
from tests.bench.rollout_gap import rollout_gap
from tests.engines.learner_setup import IMAGE_TOKEN, mixed_samples, sample, save_tiny
from tests.grpo.objectives.by_hand import PUBLISHED, HandObjective, HandSequence, hand_loss
from tests.grpo.objectives.rows import config_of

TEMPERATURE = 0.8
ROW_TOKENS = 160
DRIFTS = {"gspo": 2e-3, "rloo": 0.3, "cispo": 2.4}
"""How far the sampler's log-probabilities lie from the policy's, so that the bounds of each objective bind; others: 0.9."""
ONE_TURN_PROMPT = 8
"""Tokens before the answer in samples of one turn."""
FLOOR = 1e-6
"""A parameter's difference is relative to its largest gradient, or to this part of the model's largest: the bias of an
attention key has none in exact arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One objective, on both sides."""

    label: str
    name: str
    hand: HandObjective

    @property
    def config(self) -> ObjectiveConfig:
        """As the package gets it."""
        return config_of(self.name, self.hand)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A loss and the gradient of each parameter."""

    loss: float
    gradients: dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Between two results, relative to the second."""

    case: str
    against: str
    loss_rel: float
    grad_rel: float
    parameters: int


def cases() -> list[Case]:
    """Every published objective, and every knob that enters the loss."""
    grpo = PUBLISHED["grpo"]
    return [
        *(Case(label=name, name=name, hand=hand) for name, hand in PUBLISHED.items()),
        Case(label="grpo, seq-mean-token-mean", name="grpo", hand=replace(grpo, average="seq-mean-token-mean")),
        *(
            Case(label=f"grpo + {k}", name="grpo", hand=replace(grpo, kl=k, kl_coefficient=0.3))
            for k in ("k1", "k2", "k3")
        ),
        *(
            Case(
                label=f"grpo, {how}",
                name="grpo",
                hand=replace(grpo, correction=how, cap=20.0 if how.endswith("sequence") else 1.5),
            )
            for how in ("truncate-token", "mask-token", "truncate-sequence", "mask-sequence")
        ),
    ]


def exact(model: Qwen3VLForConditionalGeneration) -> Qwen3VLForConditionalGeneration:
    """In float64 throughout: transformers computes this norm in float32 whatever the type of the weights."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                weight = child.get_parameter("weight")
                eps = float(vars(child)["variance_epsilon"])
                norm = nn.RMSNorm(weight.shape[0], eps=eps, dtype=weight.dtype)
                norm.weight = weight
                setattr(parent, name, norm)
    return model


def tensors_of(row: Sequence[Sample], store: ImageStore) -> RowTensors:
    """A row as the learner reads it."""
    return row_tensors(tuple(row), image_token_id=IMAGE_TOKEN, pixels=lambda ref: image_patches(store.get(ref)))


def plain_logprobs(model: Qwen3VLForConditionalGeneration, one: Sample, store: ImageStore) -> Tensor:
    """[N] of one sample by itself: transformers' own forward pass and the whole table of logits."""
    row = tensors_of([one], store)
    end = len(row.input_ids) - (not one.images)  # without the blank picture
    logits = model(
        input_ids=row.input_ids[None, :end],
        position_ids=row.positions[:, None, :end],
        pixel_values=row.patches if one.images else None,
        image_grid_thw=row.grids if one.images else None,
        cu_seq_lens_q=torch.tensor([0, end], dtype=torch.int32),
        max_length_q=end,
        use_cache=False,
    ).logits[0]
    return (logits / TEMPERATURE).log_softmax(-1)[row.predictors, row.targets]


def sampled(
    model: Qwen3VLForConditionalGeneration, samples: Sequence[Sample], store: ImageStore, *, case: Case, seed: int
) -> list[HandSequence]:
    """What a sampler some way from the policy would have written down for each sample."""
    rng, drift = random.Random(seed), DRIFTS.get(case.name, 0.9)
    found: list[HandSequence] = []
    for one in samples:
        with torch.no_grad():
            logprobs = plain_logprobs(model, one, store).tolist()
        found.append(
            HandSequence(
                logprobs=logprobs,
                old=[value + rng.uniform(-drift, drift) for value in logprobs],
                advantage=one.advantage,
                reference=[value + rng.uniform(-0.5, 0.5) for value in logprobs],
            )
        )
    return found


def ours(
    policy: PackedPolicy,
    samples: Sequence[Sample],
    hands: Sequence[HandSequence],
    store: ImageStore,
    *,
    objective: ObjectiveConfig,
    row_tokens: int = ROW_TOKENS,
) -> Result:
    """The package's own path: packed rows, chunked log-probabilities, one backward pass a row."""
    policy.zero_grad()
    batch = pack(samples, row_tokens=row_tokens)
    denominator = step_denominator(objective, trained_tokens=batch.trained_tokens, samples=batch.samples)
    hand_of, total = dict(zip(samples, hands, strict=True)), 0.0
    for row in batch.rows:
        tensors = tensors_of(row, store)
        logprobs, _ = policy(tensors, TEMPERATURE)
        parts = [hand_of[one] for one in row]
        tokens = PolicyTokens(
            logprobs=logprobs,
            old_logprobs=_column([part.old for part in parts], logprobs),
            advantages=_column([[part.advantage] * len(part.old) for part in parts], logprobs),
            segments=segment_ids(tensors.trained_of_sample),
            reference_logprobs=_column([part.reference for part in parts], logprobs),
        )
        loss = row_loss(tokens, objective=objective, denominator=denominator).loss
        loss.backward()
        total += float(loss.detach())
    return Result(loss=total, gradients=_gradients(policy.model))


def by_hand(
    model: Qwen3VLForConditionalGeneration,
    samples: Sequence[Sample],
    hands: Sequence[HandSequence],
    store: ImageStore,
    *,
    hand: HandObjective,
) -> Result:
    """The same step with nothing of the package: slopes from paper, pulled through transformers' forward pass."""
    model.zero_grad()
    result = hand_loss(hands, hand)
    for one, slopes in zip(samples, result.gradients, strict=True):
        logprobs = plain_logprobs(model, one, store)
        logprobs.backward(logprobs.new_tensor(slopes))
    return Result(loss=result.loss, gradients=_gradients(model))


def difference(found: Result, wanted: Result, *, case: str, against: str) -> Difference:
    """Largest over the parameters."""
    scale = max(float(gradient.abs().max()) for gradient in wanted.gradients.values())
    relative = [
        float((found.gradients[name] - gradient).abs().max()) / max(float(gradient.abs().max()), FLOOR * scale)
        for name, gradient in wanted.gradients.items()
    ]
    return Difference(
        case=case,
        against=against,
        loss_rel=abs(found.loss - wanted.loss) / abs(wanted.loss),
        grad_rel=max(relative),
        parameters=len(relative),
    )


def loaded(folder: Path, dtype: torch.dtype = torch.float64) -> Qwen3VLForConditionalGeneration:
    """Our small policy, and in double precision the arithmetic around it as well."""
    model = load_qwen(folder, dtype=dtype)
    assert isinstance(model, Qwen3VLForConditionalGeneration)
    return exact(model) if dtype is torch.float64 else model


def against_hand(folder: Path, store: ImageStore, *, seeds: int) -> list[Difference]:
    """Every case, on five samples of which three hold pictures."""
    model = loaded(folder)
    policy = PackedPolicy(model, banned_ids=(), chunk_tokens=7)
    samples = mixed_samples(store)
    found: list[Difference] = []
    for case in cases():
        for seed in range(seeds):
            hands = sampled(model, samples, store, case=case, seed=seed)
            wanted = by_hand(model, samples, hands, store, hand=case.hand)
            result = ours(policy, samples, hands, store, objective=case.config)
            found.append(difference(result, wanted, case=case.label, against="by hand"))
    return found


def against_trl(folder: Path, store: ImageStore, *, seeds: int) -> list[Difference]:
    """The cases that trl has, on text: it takes no pictures without its own processor."""
    from tests.bench.trl_peer import TrlPeer

    model = loaded(folder)
    policy = PackedPolicy(model, banned_ids=(), chunk_tokens=7)
    found: list[Difference] = []
    with tempfile.TemporaryDirectory() as scratch:
        peer = TrlPeer(folder, Path(scratch), temperature=TEMPERATURE, prepare=exact)
        for case in cases():
            if not peer.has(case.name, case.hand):
                continue
            samples = _text_samples(turns=1 if case.name == "rloo" else 2)
            for seed in range(seeds):
                hands = sampled(model, samples, store, case=case, seed=seed)
                loss = peer.loss(samples, hands, name=case.name, hand=case.hand)
                peer.model.zero_grad()
                loss.backward()
                wanted = Result(loss=float(loss.detach()), gradients=_gradients(peer.model))
                result = ours(policy, samples, hands, store, objective=case.config)
                found.append(difference(result, wanted, case=case.label, against="trl"))
    return found


def packed_against_unpacked(
    folder: Path, store: ImageStore, *, seeds: int, dtype: torch.dtype = torch.float32
) -> list[Difference]:
    """Several samples with pictures in a row, and each in a row of its own.

    In float32, the learner's own, the difference of two losses is relative to the loss that the same tokens make when
    all advantages are positive: the loss itself may be a sum of large terms that cancel (RLOO's is). In float64 it is
    relative to the loss; the tower's rotary embedding stays float32 in transformers, hence gradients 1e-10 apart.
    """
    model = loaded(folder, dtype)
    policy = PackedPolicy(model, banned_ids=(), chunk_tokens=512)
    samples = mixed_samples(store)
    found: list[Difference] = []
    for case in [case for case in cases() if case.label in PUBLISHED]:
        for seed in range(seeds):
            hands = sampled(model, samples, store, case=case, seed=seed)
            packed = ours(policy, samples, hands, store, objective=case.config, row_tokens=4096)
            single = ours(
                policy,
                samples,
                hands,
                store,
                objective=case.config,
                row_tokens=max(len(s.token_ids) for s in samples) + 16,
            )
            size = single
            if dtype is torch.float32:
                positive = [replace(hand, advantage=abs(hand.advantage)) for hand in hands]
                size = ours(policy, samples, positive, store, objective=case.config)
            whole = [torch.cat([g.flatten() for g in result.gradients.values()]) for result in (packed, single)]
            found.append(
                Difference(
                    case=case.label,
                    against=f"one sample a row, {8 * dtype.itemsize} bit",
                    loss_rel=abs(packed.loss - single.loss) / abs(size.loss),
                    grad_rel=float((whole[0] - whole[1]).norm() / whole[1].norm()),
                    parameters=len(packed.gradients),
                )
            )
    return found


def _column(values: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    return like.new_tensor([value for part in values for value in part])


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    """Of each parameter; zero where nothing flowed."""
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()
        for name, parameter in model.named_parameters()
    }


def _text_samples(*, turns: int) -> list[Sample]:
    """Five ragged samples; with one turn, everything after the prompt is sampled."""
    made = [
        sample(seed=10 + number, tokens=tokens, advantage=advantage)
        for number, (tokens, advantage) in enumerate(((31, 1.3), (23, -0.4), (44, -1.1), (27, 0.2), (38, 0.8)))
    ]
    if turns > 1:
        return made
    masks = [tuple(index >= ONE_TURN_PROMPT for index in range(len(one.token_ids))) for one in made]
    return [replace(one, loss_mask=mask) for one, mask in zip(made, masks, strict=True)]


def table(rows: Sequence[Difference]) -> str:
    """The worst seed of each case."""
    worst: dict[tuple[str, str], Difference] = {}
    for row in rows:
        key = (row.against, row.case)
        if key not in worst or row.grad_rel > worst[key].grad_rel:
            worst[key] = row
    lines = [f"{'case':28}{'against':28}{'loss_rel':>12}{'grad_rel':>12}{'parameters':>12}"]
    lines += [
        f"{row.case:28}{row.against:28}{row.loss_rel:12.1e}{row.grad_rel:12.1e}{row.parameters:12d}"
        for row in worst.values()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed instead of five, 8 rollouts instead of 100")
    is_quick = parser.parse_args().quick
    seeds, rollouts = (1, 8) if is_quick else (5, 100)
    torch.set_num_threads(1)
    has_trl = importlib.util.find_spec("trl") is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, tiny = ImageStore(folder / "pictures"), save_tiny(folder / "tiny")
        peers = against_hand(tiny, store, seeds=seeds)
        trl = against_trl(tiny, store, seeds=seeds) if has_trl else []
        packing = packed_against_unpacked(tiny, store, seeds=seeds)
        packing += packed_against_unpacked(tiny, store, seeds=seeds, dtype=torch.float64)
        widest = rollout_gap(folder / "rollouts", rollouts=rollouts)
    sys.stdout.write(table([*peers, *trl, *packing]) + "\n")
    if not has_trl:
        sys.stdout.write("trl is not installed: nothing was compared with it\n")
    sys.stdout.write(f"{rollouts} rollouts: {widest}\n")
    result = {
        "max_loss_rel": max(row.loss_rel for row in [*peers, *trl]),
        "max_grad_rel": max(row.grad_rel for row in [*peers, *trl]),
        "packed_vs_unpacked_rel": max(max(row.loss_rel, row.grad_rel) for row in packing),
        "rollout_gap_max": widest.token.gap_nats,
        "trl_compared": list(dict.fromkeys(row.case for row in trl)),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
