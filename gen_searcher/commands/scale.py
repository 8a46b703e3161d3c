"""`gen-searcher scale RUN_DIR cluster.rollout_workers=4`: change how many workers a run has while it runs."""

from __future__ import annotations

import sys

from gen_searcher.config.root import RunConfig
from gen_searcher.config.scale import ScaleConfig, parse_scale, read_scale
from gen_searcher.errors import ConfigError
from gen_searcher.train.run import RunFolder

HERE = "cluster, on the command line or in what it names"
"""Where the numbers of this call stand, for a message; those of earlier calls stand in the file."""


def run(cfg: RunConfig) -> int:
    """Write what is asked for into the run directory; what earlier calls asked for other roles stays.

    Raises:
        ConfigError: No role was named, or too many workers, or there is no such run, or what earlier calls wrote is damaged.
    """
    if not cfg.run_dir.is_dir():
        raise ConfigError(f"run_dir: there is no run directory {cfg.run_dir}")
    roles = ScaleConfig.model_fields.keys() & cfg.cluster.model_fields_set  # defaults are not asked for
    if not roles:
        named = ", ".join(f"cluster.{name}=N" for name in ScaleConfig.model_fields)
        raise ConfigError(f"scale: which workers, and how many? One or more of {named}")
    path = RunFolder(root=cfg.run_dir.resolve()).scale
    asked = parse_scale(cfg.cluster.model_dump_json(include=roles), source=HERE)
    whole = read_scale(path).model_copy(update=asked.named)
    part = path.with_suffix(".json.part")
    part.write_text(whole.model_dump_json(exclude_none=True), encoding="utf-8")
    part.replace(path)
    sys.stdout.write(
        f"{path} asks for {whole}; a running grpo reads it within seconds, and its log says what follows\n"
    )
    return 0
