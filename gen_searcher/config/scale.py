"""How many workers a run is to have from now on: a small file in its directory, written by people, read while it runs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from gen_searcher.config.base import Config
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.explain import explain
from gen_searcher.errors import ConfigError

MOST = 4096
"""Workers of one role: the file is typed while a run spends money, and a key that stuck is no number of workers."""
LONGEST_BYTES = 1 << 16
"""Of the file; a longer one is another file."""


class ScaleConfig(Config):
    """Numbers of workers; null leaves a role as it is. Learner ranks are fixed: their number is part of what is learned."""

    rollout_workers: int | None = Field(default=None, ge=1, le=MOST)
    """vLLM replicas."""
    generator_workers: int | None = Field(default=None, ge=1, le=MOST)
    """Replicas of the image model."""
    reward_workers: int | None = Field(default=None, ge=1, le=MOST)
    """Processes that hold the judges."""
    tool_workers: int | None = Field(default=None, ge=1, le=MOST)
    """Processes that search and read pages."""

    @property
    def named(self) -> dict[str, int]:
        """The settings that are not null."""
        return {name: count for name, count in self.model_dump().items() if count is not None}

    def over(self, cluster: ClusterConfig) -> ClusterConfig:
        """The cluster with these numbers."""
        return cluster.model_copy(update=self.named)

    def __str__(self) -> str:
        """As on the command line."""
        return " ".join(f"cluster.{name}={count}" for name, count in self.named.items()) or "nothing"


def parse_scale(text: str, *, source: Path | str) -> ScaleConfig:
    """Read the file's text, or what `source` says otherwise. Raises ConfigError with what is wrong in it."""
    try:
        return ScaleConfig.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, ScaleConfig)}") from None


def scale_text(path: Path) -> str | None:
    """What the file holds, None when there is none. Raises ConfigError for one that cannot be read or is no text."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_BYTES).decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeError:
        raise ConfigError(f"{path} is not UTF-8; write it anew, or delete it to go by the settings") from None


def read_scale(path: Path) -> ScaleConfig:
    """What the file asks for; without a file, nothing. Raises ConfigError."""
    text = scale_text(path)
    return ScaleConfig() if text is None else parse_scale(text, source=path)
