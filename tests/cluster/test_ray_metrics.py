"""Numbers of a run as Prometheus reads them from Ray's agent, and the dashboard that shows them."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import ray

from gen_searcher.cluster.ray_metrics import MOST_NAMES, RayMetrics, metric_name
from gen_searcher.config import load
from gen_searcher.config.plug import Plug
from gen_searcher.metrics.trackers.run_info import RunInfo
from gen_searcher.protocols import Tracker

ROOT = Path(__file__).parents[2]
RUN = RunInfo(id="laptop-grpo", name="laptop grpo", folder=Path("unused"), config={})


@pytest.fixture(scope="module")
def exporting_ray() -> Iterator[str]:
    """A Ray that reports its metrics twice a second; gives the address where Prometheus would ask."""
    with tempfile.TemporaryDirectory(prefix="gs-m-", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=1,
            object_store_memory=100 << 20,
            include_dashboard=False,
            _temp_dir=folder,
            _system_config={"metrics_report_interval_ms": 500},
        )
        (node,) = ray.nodes()
        yield f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        ray.shutdown()


async def scraped(address: str, word: str) -> list[str]:
    """Lines of the export that begin with the word, as soon as there are some."""
    while True:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: ASYNC210 - nothing else runs here
            lines = [line for line in answer.read().decode().splitlines() if line.startswith(word)]
        if lines:
            return lines
        await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_prometheus_reads_every_number_of_a_step_under_the_runs_label(exporting_ray: str) -> None:
    plugs = load.load(["experiment=smoke", "tracker=prometheus"]).trackers
    tracker = cast("Tracker", cast("Plug", plugs["prometheus"]).build(run=RUN))
    tracker.log(7, {"reward/mean": 0.25, "learner/kl_nats": 1e-3})
    (mean,) = await scraped(exporting_ray, "ray_gen_searcher_reward_mean{")
    assert mean.endswith(" 0.25")
    assert 'run="laptop-grpo"' in mean
    (step,) = await scraped(exporting_ray, "ray_gen_searcher_step{")
    assert step.endswith(" 7.0")
    tracker.close()


@pytest.mark.slow
@pytest.mark.usefixtures("exporting_ray")
def test_a_flood_of_names_is_cut_off_and_said(caplog: pytest.LogCaptureFixture) -> None:
    tracker = RayMetrics(run=RUN)
    tracker.log(1, {f"flood/{number}": 1.0 for number in range(MOST_NAMES + 5)})
    assert "more than 300 different numbers: flood/299 and later ones are not exported" in caplog.text
    assert len(caplog.records) == 1


def test_the_dashboard_asks_only_for_numbers_that_a_step_has() -> None:
    board = json.loads((ROOT / "launch" / "grafana" / "gen_searcher.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ray_(gen_searcher_\w+)\{", target["expr"])
    }
    source = "\n".join(path.read_text() for path in (ROOT / "gen_searcher").rglob("*.py"))
    written = {metric_name(name) for name in re.findall(r'f?"([a-z]+/[a-z_]+)"', source)}
    families = {
        "reward": ("image", "text"),
        "image": ("faithfulness", "visual_correctness", "text_accuracy", "aesthetics"),
    }
    families["outcome"] = tuple(
        f"{how}_frac" for how in ("grounded", "malformed", "repeated", "out_of_turns", "out_of_tokens")
    )
    written |= {metric_name(f"{family}/{name}") for family, names in families.items() for name in names}
    assert len(asked) > 25
    assert asked - written == {"gen_searcher_step"}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
