"""What `gen-searcher plan` assumes: latencies, how workers share their speed, prices, and what may be spent.

The shape of the cluster and of a step are those of the run: `cluster.rollout_workers`, `cluster.generator_workers`,
`cluster.reward_workers`, `cluster.learner_ranks`, the GPUs that `cluster.roles` keeps for each of them, and
`grpo.groups_per_step`, `group_size`, `max_staleness`, `attempts_in_flight`, `tail`, `oversample`, `pictures.samples`,
`drop_flat_groups`, and `agent.looks`. The forecast says what it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from gen_searcher.config.base import Config


class LatencyConfig(Config):
    """How long one thing takes when nothing else is asked of its worker: lognormal."""

    median_s: float = Field(ge=0)
    """Half of them take longer [s]."""
    sigma: float = Field(default=0.0, ge=0)
    """Standard deviation of the logarithm; 0 for always the same, 1 for heavy tails."""


class StationConfig(Config):
    """How one worker's speed depends on how much it has to do."""

    batch: int = Field(ge=1)
    """Jobs at a time; further ones wait."""
    slowdown: float = Field(default=0.0, ge=0)
    """Share by which each further job slows all of them: alone a job takes s, among b jobs s * (1 + slowdown * (b - 1))."""
    threads: float = Field(default=0.0, ge=0)
    """Cores of `plan.cores` that one worker takes while it has something to do."""


class PlanConfig(Config):
    """What is assumed. The defaults are those of an 8B policy and a 20B image model on H200, each from its arithmetic."""

    recorded: Path | None = None
    """Run directory whose turns, tool calls, drawings, verdicts and learner steps are drawn again, as far as it has
    them; null takes what is stated below. What a run measured holds its queues too, and they are taken out again: by the
    workers that its metrics count after each step (the median; a run without them: its settings), by the learner ranks and
    sizes of its last start (its `config/grpo.yaml`), and by how workers share their speed as stated below, of which a run
    knows nothing. Record with pools that do not wait and whose size stays."""
    turns: tuple[int, ...] = Field(default=(2, 3, 4, 5, 6, 7, 8, 9), min_length=1)
    """Turns of a trajectory, each entry as likely as the others."""
    turn: LatencyConfig = LatencyConfig(median_s=1.4, sigma=0.5)
    """One completion, alone on its engine: 400 tokens at 280 tokens/s."""
    tool: LatencyConfig = LatencyConfig(median_s=1.0, sigma=1.0)
    """One tool call, its retries included."""
    draw: LatencyConfig = LatencyConfig(median_s=18.7, sigma=0.3)
    """One picture: 40 steps with one reference, at 80 % of the peak. `grpo.pictures.samples` and `agent.looks` draw more."""
    judges: Mapping[str, LatencyConfig] = {
        "image": LatencyConfig(median_s=5.0, sigma=0.7),
        "text": LatencyConfig(median_s=3.0, sigma=0.7),
    }
    """One verdict of each judge."""
    learn_s: float = Field(default=0.83, ge=0)
    """Learner time of one attempt on one rank [s]: 10,400 tokens at 12,500 tokens/s."""
    publish_s: float = Field(default=1.0, ge=0)
    """From the end of a step until every engine serves its weights [s]."""
    grounded_frac: float = Field(default=1.0, ge=0, le=1)
    """Share of attempts that are drawn and judged."""
    flat_frac: float = Field(default=0.0, ge=0, lt=1)
    """Share of groups with nothing to teach, which are passed over."""
    engine: StationConfig = StationConfig(batch=48, slowdown=0.068)
    """One rollout worker: 280 tokens/s alone, 3,200 tokens/s among 48 contexts of 8,000 tokens."""
    generator: StationConfig = StationConfig(batch=1)
    """One image worker."""
    reward: StationConfig = StationConfig(batch=32)
    """One reward worker; its judges are asked over the network."""
    learner_threads: float = Field(default=0.0, ge=0)
    """Cores of `plan.cores` that one learner rank takes during a step."""
    cores: float | None = Field(default=None, gt=0)
    """Cores of the one machine that does everything, when workers stand in each other's way there: as long as all busy
    workers together ask for more (`threads`), every one of them goes slower by that share. null: they do not."""
    usd_per_gpu_hour: float = Field(default=3.0, ge=0)
    """Price of one GPU [USD/h]."""
    usd_per_attempt: float = Field(default=0.0, ge=0)
    """What one attempt pays to providers and hosted judges [USD]."""
    steps: int = Field(default=20, ge=2)
    """Steps that are looked at, after those in which the pools fill up."""
    least_learner_ranks: int = Field(default=1, ge=1)
    """Fewest ranks that a proposal may have: as many as hold the policy and its optimizer, of which nothing is known here."""
    budget_usd_per_hour: float | None = Field(default=None, gt=0)
    """Propose a shape that costs no more [USD/h, GPUs only]; null proposes none for money."""
    budget_gpus: int | None = Field(default=None, ge=1)
    """Propose a shape with no more GPUs; null proposes none for GPUs."""
