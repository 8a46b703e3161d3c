"""`gen-searcher export run_dir=...`: the run's last checkpoint as a plain Hugging Face folder."""

from __future__ import annotations

import sys

from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError
from gen_searcher.train.run import RunFolder


def run(cfg: RunConfig) -> int:
    """Write the folder and print its path.

    Raises:
        ConfigError: The run has no such checkpoint.
        UserError: The target exists, or what the checkpoint was trained from is gone.
    """
    if not cfg.run_dir.is_dir():
        raise ConfigError(f"run_dir: there is no run directory {cfg.run_dir}")
    folder = RunFolder(root=cfg.run_dir.resolve())
    step = cfg.export.step or folder.checkpoints.latest()
    found = folder.checkpoints.steps()
    if step not in found:
        there_is = f"there are those of steps {', '.join(map(str, found))}" if found else "there is none yet"
        asked = f"no checkpoint of step {step}" if cfg.export.step else "no checkpoint to export"
        raise ConfigError(f"{folder.checkpoints.path}: {asked}; {there_is}. `gen-searcher grpo` writes them")
    from gen_searcher.engines.policy_export import export_checkpoint

    target = cfg.export.folder or folder.root / f"exported-{step}"
    export_checkpoint(folder.checkpoints.folder(step), target.resolve(), base=cfg.export.base)
    sys.stdout.write(f"{target}\n")
    return 0
