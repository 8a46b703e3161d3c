"""Every shipped tracker keeps the contract on its real service, offline; `pip install 'gen_searcher[trackers]'`."""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import pytest

from gen_searcher.metrics.trackers.run_info import RunInfo
from gen_searcher.protocols import Tracker

pytestmark = pytest.mark.filterwarnings("ignore")


def info(folder: Path) -> RunInfo:
    return RunInfo(id="laptop-grpo", name="laptop grpo", folder=folder, config={"seed": 0, "grpo.steps": 30})


def run_twice(open_tracker: type[Tracker], **keywords: object) -> None:
    """A run, and its resumption."""
    for steps in ((1, 2), (3,)):
        tracker = open_tracker(**keywords)
        for step in steps:
            tracker.log(step, {"reward/mean": step / 10})
        tracker.close()


def test_tensorboard_shows_a_resumed_run_as_one_curve(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="an optional package: pip install 'gen_searcher[trackers]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from gen_searcher.metrics.trackers.tensorboard_files import TensorboardTracker

    run_twice(TensorboardTracker, run=info(tmp_path))
    found = EventAccumulator(str(tmp_path / "tensorboard" / "laptop-grpo"))
    found.Reload()
    values = [(event.step, event.tensor_proto.float_val[0]) for event in found.Tensors("reward/mean")]
    assert values == [(1, pytest.approx(0.1)), (2, pytest.approx(0.2)), (3, pytest.approx(0.3))]


def test_mlflow_goes_on_in_the_same_run(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="an optional package: pip install 'gen_searcher[trackers]'")
    from mlflow import MlflowClient

    from gen_searcher.metrics.trackers.mlflow_runs import MlflowTracker

    run_twice(MlflowTracker, run=info(tmp_path))
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gen_searcher")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "reward/mean")] == [0.1, 0.2, 0.3]
    assert run.data.params == {"seed": "0", "grpo.steps": "30"}


def test_wandb_keeps_its_run_in_the_run_directory(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="an optional package: pip install 'gen_searcher[trackers]'")
    from gen_searcher.metrics.trackers.weights_and_biases import WandbTracker

    run_twice(WandbTracker, run=info(tmp_path), mode="offline")
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-laptop-grpo.wandb"))
    assert files
    assert all(file.stat().st_size > 0 for file in files)


def test_trackio_goes_on_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # read when the package is imported
    trackio = pytest.importorskip("trackio", reason="an optional package: pip install 'gen_searcher[trackers]'")
    from gen_searcher.metrics.trackers.trackio_runs import TrackioTracker

    run_twice(TrackioTracker, run=info(tmp_path), project="gen_searcher")
    rows = trackio.sqlite_storage.SQLiteStorage.get_logs("gen_searcher", "laptop-grpo")
    assert [row["reward/mean"] for row in rows] == [0.1, 0.2, 0.3]
