"""MLflow. Needs the package `mlflow`, or `mlflow-skinny` with a tracking server."""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (an optional package)

from __future__ import annotations

import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric

from gen_searcher.metrics.trackers.run_info import RunInfo

TAG = "gen_searcher.run"
"""Tag of a run that holds our id, by which a resumed run finds it."""


class MlflowTracker:
    """A run of an experiment; a resumed run goes on in the same one."""

    def __init__(self, *, run: RunInfo, uri: str | None = None, experiment: str = "gen_searcher") -> None:
        """Open the run.

        Args:
            run: Which run of ours.
            uri: Of the tracking server; None: a database in the run directory. Credentials come from MLflow's own
                settings.
            experiment: Made when it is not there.
        """
        run.folder.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(uri or f"sqlite:///{run.folder / 'mlflow.db'}")
        found = self._client.get_experiment_by_name(experiment)
        experiment_id = self._client.create_experiment(experiment) if found is None else str(found.experiment_id)
        earlier = self._client.search_runs([experiment_id], filter_string=f"tags.`{TAG}` = '{run.id}'", max_results=1)
        self._run_id = str(
            earlier[0].info.run_id
            if earlier
            else self._client.create_run(experiment_id, run_name=run.name, tags={TAG: run.id}).info.run_id
        )
        if not earlier:
            for name, value in run.config.items():
                self._client.log_param(self._run_id, name, str(value)[:500])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One batch."""
        now_ms = int(time.time() * 1000)
        self._client.log_batch(self._run_id, [Metric(name, value, now_ms, step) for name, value in values.items()])

    def close(self) -> None:
        """Mark the run as finished; a resumed one is opened again."""
        self._client.set_terminated(self._run_id)
