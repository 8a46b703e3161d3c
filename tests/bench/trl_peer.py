"""trl's trainers, asked for the loss of a given batch: nothing is generated, nothing is stepped."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# (trl is an optional extra)

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen_searcher.engines.qwen_forward import Qwen3VLForConditionalGeneration
from gen_searcher.types import Sample
from tests.engines.learner_setup import VOCAB
from tests.grpo.objectives.by_hand import HandObjective, HandSequence

LOSS_TYPES = {"dr_grpo": "dr_grpo", "dapo": "dapo", "gspo": "grpo", "cispo": "cispo"}
GRPO_TYPES = {"seq-mean-token-sum": "luspo", "seq-mean-token-mean": "grpo"}
"""What trl calls plain GRPO depends on how it averages."""
PAD = 1


class TrlPeer:
    """`GRPOTrainer` and `RLOOTrainer` around one model."""

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        *,
        temperature: float,
        prepare: Callable[[Qwen3VLForConditionalGeneration], Qwen3VLForConditionalGeneration],
    ) -> None:
        """Build both. `prepare` is what the other side's model went through too."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from datasets import Dataset
            from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

            self.model = prepare(
                Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float64, local_files_only=True)
            )
            common: dict[str, Any] = {
                "output_dir": str(scratch),
                "use_cpu": True,
                "bf16": False,
                "report_to": [],
                "num_generations": 5,
                "per_device_train_batch_size": 5,
                "temperature": temperature,
                "beta": 0.0,
            }
            parts: dict[str, Any] = {
                "reward_funcs": _no_reward,
                "train_dataset": Dataset.from_dict({"prompt": ["3 4"] * 5}),
                "processing_class": _tokenizer(),
            }
            # By default trl multiplies the divergence by the ratio (DeepSeek-V3.2); ours is the plain estimate.
            grpo = GRPOConfig(**common, use_bias_correction_kl=False)
            self._grpo: Any = GRPOTrainer(model=self.model, args=grpo, **parts)
            self._rloo: Any = RLOOTrainer(model=self.model, args=RLOOConfig(**common), **parts)
        self._grpo.current_gradient_accumulation_steps = 1
        self._temperature = temperature
        # trl's own head computes in float32, which would be all that one sees of a difference.
        self._grpo._get_per_token_logps_and_entropies = self._scores
        self._rloo._get_per_token_logps_and_entropies = self._scores

    def _scores(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor, None]:
        """Log-probabilities and entropies of the last tokens in float64, in place of trl's."""
        logits = model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        table = (logits[:, -logits_to_keep - 1 : -1] / self._temperature).log_softmax(-1)
        said = table.gather(-1, input_ids[:, -logits_to_keep:, None])[..., 0]
        return said, -(table.exp() * table).sum(-1).detach(), None

    def has(self, name: str, hand: HandObjective) -> bool:
        """Whether trl's loss has this objective; its only estimate of the divergence is k3."""
        return not hand.correction and hand.kl in ("", "k3") and (name != "grpo" or hand.average in GRPO_TYPES)

    def loss(
        self, samples: Sequence[Sample], hands: Sequence[HandSequence], *, name: str, hand: HandObjective
    ) -> Tensor:
        """[] trl's loss of the batch."""
        inputs = _inputs(samples, hands)
        if name == "rloo":
            self._rloo.epsilon_low, self._rloo.epsilon_high = hand.low, hand.high
            inputs["completion_mask"] = inputs["completion_mask"] * inputs.pop("tool_mask")
            inputs["old_logps"] = inputs["old_per_token_logps"].sum(1)
            return self._rloo._compute_loss(self.model, inputs)
        trainer = self._grpo
        trainer.loss_type = GRPO_TYPES[hand.average] if name == "grpo" else LOSS_TYPES[name]
        trainer.importance_sampling_level = "sequence" if name == "gspo" else "token"
        trainer.epsilon_low = hand.low
        trainer.epsilon_high = 1.0 + hand.high if name == "cispo" else hand.high  # there it bounds the ratio itself
        trainer.max_completion_length = hand.longest
        trainer.beta = hand.kl_coefficient
        return trainer._compute_loss(self.model, inputs)


def _inputs(samples: Sequence[Sample], hands: Sequence[HandSequence]) -> dict[str, Tensor]:
    """Prompts of equal length, so that none is padded; what follows is completion, observations masked as tool output."""
    prompt = min(one.loss_mask.index(True) for one in samples)
    longest = max(len(one.token_ids) for one in samples) - prompt
    size = (len(samples), longest)
    ids = torch.full(size, PAD)
    attended, trained = torch.zeros(size, dtype=torch.int64), torch.zeros(size, dtype=torch.int64)
    old, reference = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for row, (one, hand) in enumerate(zip(samples, hands, strict=True)):
        length = len(one.token_ids) - prompt
        mask = torch.tensor(one.loss_mask[prompt:])
        ids[row, :length] = torch.tensor(one.token_ids[prompt:])
        attended[row, :length] = 1
        trained[row, :length] = mask.long()
        old[row, :length][mask] = torch.tensor(hand.old, dtype=torch.float64)
        reference[row, :length][mask] = torch.tensor(hand.reference, dtype=torch.float64)
    return {
        "prompt_ids": torch.tensor([one.token_ids[:prompt] for one in samples]),
        "prompt_mask": torch.ones(len(samples), prompt, dtype=torch.int64),
        "completion_ids": ids,
        "completion_mask": attended,
        "tool_mask": trained,
        "advantages": torch.tensor([hand.advantage for hand in hands], dtype=torch.float64),
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": trained.sum(),
    }


def _no_reward(completions: list[str], **_: object) -> list[float]:
    return [0.0] * len(completions)


def _tokenizer() -> Any:
    """Never used: the batch is token ids already, but a trainer must have one."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({str(number): number for number in range(VOCAB)}, unk_token="0"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=str(PAD), eos_token="2")
