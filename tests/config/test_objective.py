from __future__ import annotations

import pytest
from pydantic import ValidationError

from gen_searcher.config import load
from gen_searcher.config.objective import PUBLISHED, ObjectiveConfig
from gen_searcher.config.optim import OptimConfig
from gen_searcher.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "scale", "baseline", "aggregation", "low", "high", "penalty"),
    [
        ("grpo", "std", "mean", "seq-mean-token-sum", 0.2, 0.28, 0.0),
        ("dr_grpo", "none", "mean", "token-sum-norm", 0.2, 0.2, 0.0),
        ("dapo", "std", "mean", "token-mean", 0.2, 0.28, 1.0),
        ("gspo", "std", "mean", "seq-mean-token-mean", 3e-4, 4e-4, 0.0),
        ("cispo", "std", "mean", "token-mean", 1.0, 4.0, 0.0),
        ("rloo", "none", "leave-one-out", "seq-mean-token-mean", 0.2, 0.2, 0.0),
    ],
)
def test_a_name_sets_the_published_combination(
    name: str, scale: str, baseline: str, aggregation: str, low: float, high: float, penalty: float
):
    found = load.load([f"grpo.objective.name={name}"]).grpo.objective
    assert (found.advantage_scale, found.baseline, found.aggregation) == (scale, baseline, aggregation)
    assert (found.clip_low, found.clip_high, found.overlong_penalty) == (low, high, penalty)
    assert (found.kl.coefficient, found.correction.mode, found.masks.outcomes) == (0.0, "off", ())


def test_a_knob_wins_over_the_name_and_the_dump_means_the_same_again():
    found = load.load(["grpo.objective.name=gspo", "grpo.objective.clip_high=0.01"]).grpo.objective
    assert (found.clip_low, found.clip_high) == (3e-4, 0.01)
    assert ObjectiveConfig.model_validate(found.model_dump(mode="json")) == found


def test_a_trajectory_is_at_most_as_long_as_its_context():
    assert load.load(["experiment=laptop"]).grpo.objective.max_response_tokens == 2048
    assert load.load(["agent.max_context_tokens=5000"]).grpo.objective.max_response_tokens == 5000


def test_the_masks_of_the_paper_spare_groundings_that_earned_something_and_keep_the_divisor():
    masks = load.load(["grpo.objective.masks.preset=paper"]).grpo.objective.masks
    assert sorted(masks.outcomes) == ["malformed", "out_of_tokens", "out_of_turns", "repeated"]
    assert (masks.worthless, masks.counted) == (True, True)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (["name=ppo"], "grpo.objective.name: found 'ppo'"),
        (
            ["name=gspo", "aggregation=token-mean"],
            "gspo weighs whole sequences and is not defined for aggregation token-mean",
        ),
        (["name=rloo", "aggregation=seq-mean-token-sum"], "take seq-mean-token-mean"),
        (["clip_low=1.0"], "only cispo does without"),
        (["baseline=leave-one-out"], "set advantage_scale to none"),
        (["name=rloo", "correction.mode=mask"], "set correction.level to sequence"),
        (["correction.cap=1.0"], "grpo.objective.correction.cap"),
        (["kl.coefficient=-1"], "grpo.objective.kl.coefficient"),
        (["masks.outcomes=[lost]"], "grpo.objective.masks.outcomes"),
    ],
)
def test_a_combination_that_nobody_defined_is_refused_in_words(said: list[str], complaint: str):
    with pytest.raises(ConfigError) as caught:
        load.load([f"grpo.objective.{knob}" for knob in said])
    assert complaint in str(caught.value)


def test_every_published_combination_is_valid_and_says_only_what_differs():
    for name, differences in PUBLISHED.items():
        defaults = ObjectiveConfig()
        assert ObjectiveConfig(name=name).name == name
        assert all(getattr(defaults, knob) != value for knob, value in differences.items()), name


def test_imitation_knows_none_of_it():
    assert not {"clip_low", "clip_high", "aggregation", "objective"} & set(OptimConfig.model_fields)
    with pytest.raises(ConfigError, match="there is no such setting"):
        load.load(["sft.optim.clip_low=0.1"])
    with pytest.raises(ValidationError):
        OptimConfig.model_validate({"aggregation": "token-mean"})
