"""Where traces of attempts go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from gen_searcher.config.base import Config
from gen_searcher.config.secrets import Secret

PATH = "/v1/traces"
"""Where a receiver takes traces by OTLP over HTTP, below its own address."""
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class TraceConfig(Config):
    """OpenTelemetry traces: one per attempt, across the actors that work on it. Off without an endpoint."""

    endpoint: str | None = None
    """Address of a receiver of OTLP over HTTP, e.g. `http://localhost:4318`; `/v1/traces` is added. Every node must reach
    it. null: no traces."""
    sample: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of the attempts that are traced, picked by task and seed: all tries of an attempt, or none."""
    headers: Mapping[str, Secret] = Field(default_factory=dict)
    """Sent with every request, e.g. `authorization: env:OTLP_AUTHORIZATION`; each value is a reference to a secret."""

    @field_validator("endpoint")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not _is_http(value):
            raise PydanticCustomError(
                "trace_endpoint",
                "must be the address of a receiver of OTLP over HTTP: http:// or https://, a host, usually a port, and "
                "neither user nor query, e.g. http://localhost:4318",
            )
        return value

    @field_validator("headers")
    @classmethod
    def _are_names(cls, value: Mapping[str, Secret]) -> Mapping[str, Secret]:
        wrong = [name for name in value if not _NAME.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no name of an HTTP header")
        return value

    @property
    def url(self) -> str | None:
        """Where the spans are sent to; None without an endpoint."""
        if self.endpoint is None:
            return None
        base = self.endpoint.rstrip("/")
        return base if base.endswith(PATH) else base + PATH


def _is_http(value: str) -> bool:
    if any(letter.isspace() for letter in value):
        return False
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment or parts.username or parts.password)
        )
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
