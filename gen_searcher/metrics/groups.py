"""Groups of one step -> named numbers.

Everything that describes the policy is taken over *all* groups that finished, those without signal too: the trained
groups alone would show a policy that never always succeeds. Names are `stage/what_unit`:

    reward/mean reward/std reward/image reward/text       a trajectory without a grounding earns 0 in each part
    image/score image/faithfulness ... text/score ...     of judged attempts; what does not apply is left out
    image/score_variance                                  between the pictures of one grounding, when several are drawn
    shadow/image_gap shadow/image_count ...               mean distance of a watching judge from the real one
    judge/cost_usd                                        of real and watching judges
    outcome/grounded_frac ...                             shares of all attempts
    rollout/turns rollout/completion_tokens ...           per attempt; in a context a picture is its vision tokens
    rollout/lost_count lost/search_count ...              tries that the world spoiled
    tool/search_calls tool/search_failed_frac ...         calls per attempt, shares of calls
    tool/injection_canary_count                           observations with signs of an injection
    look/count look/kept_frac ...                         own pictures shown; judged pictures that were shown before
    picture/drawn_count picture/reused_count ...          how attempts came by their pictures, and what those cost
    train/groups_count train/dropped_count ...            what the step learned from
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gen_searcher.context import context_tokens
from gen_searcher.drawing import DrawnHow
from gen_searcher.metrics.values import Fraction, Max, Mean, Metric, Sum, numbers
from gen_searcher.types import Attempt, Group, Outcome, StepReport, ToolKind, ToolResult, Trajectory


def step_metrics(groups: Sequence[Group], dropped: Sequence[Group], report: StepReport) -> dict[str, float]:
    """All numbers of a step: `groups` trained, `dropped` had nothing to teach."""
    finished = (*groups, *dropped)
    attempts = [attempt for group in finished for attempt in group.attempts]
    metrics: dict[str, Metric] = {
        **_rewards([attempt for attempt in attempts if not _is_skipped(attempt)]),
        **_drawings(attempts),
        **_judgements(attempts),
        **_outcomes(attempts),
        **_rollouts([attempt.trajectory for attempt in attempts]),
        **_tools([attempt.trajectory for attempt in attempts]),
        **_looks(attempts),
        **_lost(finished),
        "train/groups_count": Sum.of([len(groups)]),
        "train/dropped_count": Sum.of([len(dropped)]),
        "train/reward": Mean.of(reward for group in groups for reward in group.rewards),
        "train/group_reward_std": Mean.of(std for group in groups if (std := Mean.of(group.rewards).std) is not None),
    }
    values = numbers(metrics)
    spread = Mean.of(attempt.reward.total for attempt in attempts if not _is_skipped(attempt)).std
    if spread is not None:
        values["reward/std"] = spread
    return {**values, "learner/loss": report.loss, "learner/grad_norm": report.grad_norm, **report.metrics}


def staleness(groups: Sequence[Group], *, version: int) -> dict[str, float]:
    """Publishes between the start of a group and the weights, of `version`, that learn from it."""
    lags = [version - group.version for group in groups]
    return numbers({"train/staleness_mean": Mean.of(lags), "train/staleness_max": Max.of(lags)})


def _rewards(attempts: Sequence[Attempt]) -> Mapping[str, Metric]:
    parts = sorted({name for attempt in attempts for name in attempt.reward.parts})
    return {
        "reward/mean": Mean.of(attempt.reward.total for attempt in attempts),
        "reward/max": Max.of(attempt.reward.total for attempt in attempts),
        **{f"reward/{name}": Mean.of(attempt.reward.parts.get(name, 0.0) for attempt in attempts) for name in parts},
    }


def _is_skipped(attempt: Attempt) -> bool:
    """Its picture was not drawn because its group trains nobody: the reward is not whole."""
    return attempt.drawing is not None and attempt.drawing.how is DrawnHow.SKIPPED


def _drawings(attempts: Sequence[Attempt]) -> Mapping[str, Metric]:
    drawings = [attempt.drawing for attempt in attempts if attempt.drawing is not None]
    if not drawings:
        return {}
    counts: dict[str, Metric] = {
        f"picture/{how}_count": Sum.of([sum(drawing.how is how for drawing in drawings)]) for how in DrawnHow
    }
    return {
        **counts,
        "picture/cut_references_count": Sum.of(drawing.cut_references for drawing in drawings),
        "picture/cost_usd": Sum.of(drawing.cost_usd for drawing in drawings),
    }


def _judgements(attempts: Sequence[Attempt]) -> Mapping[str, Metric]:
    seen: dict[str, list[float]] = {}
    for attempt in attempts:
        for judgement in attempt.judgements:
            seen.setdefault(f"{judgement.judge}/score", []).append(judgement.score)
            seen.setdefault(f"{judgement.judge}/latency_s", []).append(judgement.latency_s)
            if judgement.variance is not None:
                seen.setdefault(f"{judgement.judge}/score_variance", []).append(judgement.variance)
            for name, value in judgement.parts.items():
                if value is not None:
                    seen.setdefault(f"{judgement.judge}/{name}", []).append(value)
    costs = Sum.of(j.cost_usd for attempt in attempts for j in (*attempt.judgements, *attempt.shadow))
    means: dict[str, Metric] = {name: Mean.of(values) for name, values in sorted(seen.items())}
    return {**means, **_shadows(attempts), "judge/cost_usd": costs}


def _shadows(attempts: Sequence[Attempt]) -> Mapping[str, Metric]:
    """How far the watching judges are from the real ones of the same name, over the attempts that both scored."""
    gaps: dict[str, list[float]] = {}
    for attempt in attempts:
        scores = {judgement.judge: judgement.score for judgement in attempt.judgements}
        for judgement in attempt.shadow:
            if judgement.judge in scores:
                gaps.setdefault(judgement.judge, []).append(abs(judgement.score - scores[judgement.judge]))
    counts: dict[str, Metric] = {f"shadow/{name}_count": Sum.of([len(found)]) for name, found in sorted(gaps.items())}
    return {**counts, **{f"shadow/{name}_gap": Mean.of(found) for name, found in sorted(gaps.items())}}


def _outcomes(attempts: Sequence[Attempt]) -> Mapping[str, Metric]:
    return {
        f"outcome/{outcome}_frac": Fraction.of(attempt.trajectory.outcome is outcome for attempt in attempts)
        for outcome in Outcome
    }


def _rollouts(trajectories: Sequence[Trajectory]) -> Mapping[str, Metric]:
    completions = [sum(len(turn.completion_ids) for turn in t.turns) for t in trajectories]
    contexts = [context_tokens(t.turns) for t in trajectories]
    references = [len(t.grounding.references) for t in trajectories if t.grounding is not None]
    return {
        "rollout/attempts_count": Sum.of([len(trajectories)]),
        "rollout/turns": Mean.of(len(t.turns) for t in trajectories),
        "rollout/completion_tokens": Mean.of(completions),
        "rollout/completion_tokens_max": Max.of(completions),
        "rollout/context_tokens": Mean.of(contexts),
        "rollout/context_tokens_max": Max.of(contexts),
        "rollout/images": Mean.of(sum(len(turn.images) for turn in t.turns) for t in trajectories),
        "rollout/references": Mean.of(references),
    }


def _looks(attempts: Sequence[Attempt]) -> Mapping[str, Metric]:
    """What the policy made of its own pictures; empty when it was shown none."""
    shown = [(attempt, found) for attempt in attempts if (found := _own_pictures(attempt.trajectory))]
    if not shown:
        return {}
    return {
        "look/count": Sum.of([len(shown)]),
        "look/kept_frac": Fraction.of(
            attempt.image in [image.image for result in found for image in result.images] for attempt, found in shown
        ),
        "look/unanswered_frac": Fraction.of(attempt.trajectory.grounding is None for attempt, _ in shown),
        "look/cost_usd": Sum.of(result.cost_usd for _, found in shown for result in found),
    }


def _own_pictures(trajectory: Trajectory) -> list[ToolResult]:
    return [turn.result for turn in trajectory.turns if turn.call is None and turn.result is not None]


def _tools(trajectories: Sequence[Trajectory]) -> Mapping[str, Metric]:
    results: dict[str, list[ToolResult]] = {}
    for turn in (turn for trajectory in trajectories for turn in trajectory.turns):
        if turn.call is not None and turn.result is not None:
            results.setdefault(turn.call.name, []).append(turn.result)
    metrics: dict[str, Metric] = {}
    for name, of_tool in sorted(results.items()):
        metrics[f"tool/{name}_calls"] = Mean(total=float(len(of_tool)), count=len(trajectories))
        metrics[f"tool/{name}_failed_frac"] = Fraction.of(result.kind is ToolKind.FAILED for result in of_tool)
        metrics[f"tool/{name}_empty_frac"] = Fraction.of(result.kind is ToolKind.EMPTY for result in of_tool)
        metrics[f"tool/{name}_cache_hit_frac"] = Fraction.of(result.cache != "miss" for result in of_tool)
        metrics[f"tool/{name}_latency_s"] = Mean.of(result.latency_s for result in of_tool)
    everything = [result for of_tool in results.values() for result in of_tool]
    metrics["tool/injection_canary_count"] = Sum.of(bool(result.canaries) for result in everything)
    metrics["tool/cost_usd"] = Sum.of(result.cost_usd for result in everything)
    return metrics


def _lost(groups: Sequence[Group]) -> Mapping[str, Metric]:
    stages = Counter(lost.stage for group in groups for lost in group.lost)
    by_stage: dict[str, Metric] = {f"lost/{stage}_count": Sum.of([count]) for stage, count in sorted(stages.items())}
    return {"rollout/lost_count": Sum.of([stages.total()]), **by_stage}
