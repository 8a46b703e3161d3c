"""Keys and passwords by reference: `env:NAME` or `file:/path` in the config -> the value only where it is used.

This is the one module that reads the environment. A reference is safe to log, to write to the run directory and to
send to another machine; the value is none of these, so nothing stores it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from gen_searcher.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Secret:
    """A reference to a secret value."""

    reference: str
    """`env:NAME` or `file:/path`."""

    def __post_init__(self) -> None:
        kind, _, rest = self.reference.partition(":")
        if kind not in ("env", "file") or not rest:
            # The text is not repeated: it is probably the key itself.
            raise ConfigError("a secret must be written as env:NAME or file:/path, never as the value itself")

    def reveal(self) -> str:
        """Read the value now. Call it in the process that needs it and do not keep it.

        Raises:
            ConfigError: The variable or the file is missing or empty.
        """
        kind, _, rest = self.reference.partition(":")
        if kind == "env":
            value = os.environ.get(rest, "")  # noqa: TID251  this module is the home of the environment
            if not value.strip():
                raise ConfigError(f"the environment variable {rest} is not set (the config refers to it as env:{rest})")
            return value.strip()
        path = Path(rest).expanduser()
        try:
            value = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot read the secret file {path}: {error.strerror}") from error
        if not value.strip():
            raise ConfigError(f"the secret file {path} is empty")
        return value.strip()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Pydantic: made from text, written back as the reference."""
        return core_schema.no_info_plain_validator_function(
            _validated,
            serialization=core_schema.plain_serializer_function_ser_schema(
                _reference, return_schema=core_schema.str_schema()
            ),
        )


def _validated(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        try:
            return Secret(value)
        except ConfigError as error:
            raise PydanticCustomError("secret_reference", "{reason}", {"reason": str(error)}) from None
    raise PydanticCustomError("secret_reference", "a secret must be text: env:NAME or file:/path")


def _reference(secret: Secret) -> str:
    return secret.reference
