"""Settings of `gen-searcher serve`."""

from __future__ import annotations

from pydantic import Field

from gen_searcher.config.base import Config


class ServeConfig(Config):
    """Where a server listens. It knows no passwords: put it behind something that does before others can reach it."""

    host: str = "127.0.0.1"
    """Address to listen on; loopback unless you say otherwise."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
