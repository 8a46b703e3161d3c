"""What every command of a run shares: its folder, its tasks, its policies."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gen_searcher.config.root import RunConfig
from gen_searcher.data.tasks import chosen_tasks, load_tasks
from gen_searcher.engines.policy_files import PRETRAINED_ARCHITECTURE, read_architecture
from gen_searcher.errors import ConfigError
from gen_searcher.image_store import ImageStore
from gen_searcher.ledger.lease import RunLease
from gen_searcher.train.run import RunFolder
from gen_searcher.types import Task

log = logging.getLogger(__name__)

Split = Literal["train", "heldout"]
Stage = Literal["base", "sft", "grpo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """A run directory together with its configuration."""

    cfg: RunConfig
    folder: RunFolder

    @classmethod
    def open(cls, cfg: RunConfig) -> Workplace:
        """Make the run directory; preflight has checked that it can be made."""
        root = cfg.run_dir.resolve()
        root.mkdir(exist_ok=True)
        return cls(cfg=cfg, folder=RunFolder(root=root))

    def lease(self) -> RunLease:
        """The right to write the run directory; use it in a `with`. Raises LeaseHeld when somebody else has it."""
        return RunLease.acquire(self.folder.leases)

    @property
    def store(self) -> ImageStore:
        """The run's pictures."""
        return ImageStore(self.folder.images)

    def tasks(self, split: Split) -> list[Task]:
        """The tasks of a split."""
        return load_tasks(self.task_file(split), self.store)

    def task_file(self, split: Split) -> Path:
        """Where the tasks of a split lie; those of the embedded world are written into the run directory first."""
        named = self.cfg.tasks.train if split == "train" else self.cfg.tasks.heldout
        path = named or self.folder.tasks / f"{split}.jsonl"
        if named is None and not path.exists():
            from gen_searcher.world.tasks import write_tasks

            log.info("writing the embedded world's tasks to %s", self.folder.tasks)
            write_tasks(
                self.folder.tasks,
                train=self.cfg.tasks.train_count,
                heldout=self.cfg.tasks.heldout_count,
                seed=self.cfg.tasks.seed,
                families=self.cfg.tasks.families,
            )
        return path

    def bench_tasks(self) -> Sequence[Task]:
        """The tasks that the benchmark asks for."""
        if self.cfg.bench.suite == "heldout":
            return chosen_tasks(self.tasks("heldout"), self.cfg.bench.tasks)
        from gen_searcher.world.knowgen_mini import write_suite

        return chosen_tasks(load_tasks(write_suite(self.folder.tasks), self.store), self.cfg.bench.tasks)

    def policy(self, stage: Stage) -> Path:
        """Folder of the policy after a stage.

        Raises:
            ConfigError: That stage has not been run in this run directory.
        """
        if stage == "base":
            return self._base_policy()
        path = self.folder.policy(stage)
        if not (path / "config.json").exists():
            raise ConfigError(
                f"{path} holds no policy yet: run `gen-searcher {stage}` with run_dir={self.cfg.run_dir} first"
            )
        return path

    def best_policy(self) -> Path:
        """The most trained policy of the run."""
        stages: tuple[Stage, ...] = ("grpo", "sft")
        for stage in stages:
            if (self.folder.policy(stage) / "config.json").exists():
                return self.policy(stage)
        return self.policy("base")

    def _base_policy(self) -> Path:
        if self.cfg.policy.path is not None:
            return self.cfg.policy.path
        path = self.folder.base_policy
        pretrained = self.cfg.policy.pretrained
        if (path / "config.json").exists():
            _check_family(path, is_pretrained=pretrained is not None)
        elif pretrained is not None:
            from gen_searcher.engines.pretrained_policy import build_pretrained_policy

            log.info("building the policy from the weights of %s in %s", pretrained.package, path)
            build_pretrained_policy(path, config=pretrained)
        else:
            from gen_searcher.engines.small_policy import build_small_policy

            log.info("building the small policy in %s", path)
            build_small_policy(path, config=self.cfg.policy.small, corpus=self._corpus())
        return path

    def _corpus(self) -> Iterator[str]:
        """What the small tokenizer is trained on: training prompts, the world's pages, the agent's own language."""
        from gen_searcher.agent.prompt import system_prompt
        from gen_searcher.world.corpus import tokenizer_corpus

        yield system_prompt(self.cfg.agent)
        yield from (task.prompt for task in self.tasks("train"))
        yield from tokenizer_corpus()


def _check_family(base: Path, *, is_pretrained: bool) -> None:
    """A run directory keeps the policy that it was made with. Raises ConfigError for one of the other family."""
    found = read_architecture(base)
    if is_pretrained != (found == PRETRAINED_ARCHITECTURE):
        asked = "asks for a pretrained one" if is_pretrained else "asks for a small one"
        raise ConfigError(f"{base} holds a {found}, and policy.pretrained {asked}: use another run_dir")
