"""Training, benchmark and inference are sampled by the same four settings."""

from __future__ import annotations

from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.bench import BenchConfig
from gen_searcher.config.generate import GenerateConfig


def test_an_agent_takes_over_all_four_settings_and_keeps_the_rest() -> None:
    bench = BenchConfig(temperature=0.5, top_p=0.9, top_k=7, min_p=0.125)
    agent = AgentConfig(max_turns=3, top_k=2).sampling_like(bench)
    assert (agent.temperature, agent.top_p, agent.top_k, agent.min_p, agent.max_turns) == (0.5, 0.9, 7, 0.125, 3)


def test_only_training_samples_from_everything_unless_told() -> None:
    off = (1.0, None, 0.0)
    assert [(each.top_p, each.top_k, each.min_p) for each in (AgentConfig(), BenchConfig(), GenerateConfig())] == [
        off,
        (0.95, None, 0.0),
        (0.95, None, 0.0),
    ]
