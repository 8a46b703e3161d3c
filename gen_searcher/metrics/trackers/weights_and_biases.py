"""Weights & Biases. Needs the package `wandb`."""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (an optional package)

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import wandb

from gen_searcher.config.secrets import Secret
from gen_searcher.metrics.trackers.run_info import RunInfo


class WandbTracker:
    """A run of a project; a resumed run goes on in the same one."""

    def __init__(
        self,
        *,
        run: RunInfo,
        project: str = "gen_searcher",
        entity: str | None = None,
        mode: Literal["online", "offline"] = "online",
        key: Secret | None = None,
    ) -> None:
        """Log in and open the run.

        Args:
            run: Which run of ours.
            project: Project of the service.
            entity: User or team; None: the key's own.
            mode: `offline` writes into the run directory, for `wandb sync` later.
            key: Of the service; None: what `wandb login` left on this machine.
        """
        if key is not None and mode == "online":
            wandb.login(key=key.reveal(), verify=True)
        run.folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=project,
            entity=entity,
            dir=str(run.folder),
            id=run.id,
            name=run.name,
            config=dict(run.config),
            resume="allow",
            mode=mode,
            settings=wandb.Settings(silent=True, disable_git=True, save_code=False, console="off"),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row of the history."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Upload what is left."""
        self._run.finish()
