"""Keys and passwords by reference: `env:NAME` or `file:/path` in the config -> the value only where it is used.

This is the one module that reads the environment. A reference is safe to log, to write to the run directory and to
send to another machine; the value is none of these. What others say may quote it, so `redact` takes it out again of
everything that leaves a process: see `redaction.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pydantic import GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from gen_searcher.errors import ConfigError

HIDDEN = "[secret]"
"""What stands where a secret stood."""
MIN_CHARS = 8
"""Shorter values are words; taking them out would spoil more than it hides."""
_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
"""Environment variables whose values nobody should read, whether or not the config refers to them."""
_SETTINGS = frozenset(
    {"key", "api_key", "apikey", "token", "access_token", "auth_token", "secret", "password", "passwd", "authorization"}
)
"""Last words of settings, and names of parameters in addresses, that hold what nobody should read."""
_REFERENCES = ("env:", "file:")
_revealed: set[str] = set()
"""Values that this process has read. Of the process and not of an object, because logs and errors are."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A reference to a secret value."""

    reference: str
    """`env:NAME` or `file:/path`."""

    def __post_init__(self) -> None:
        if not is_reference(self.reference):
            # The text is not repeated: it is probably the key itself.
            raise ConfigError("a secret must be written as env:NAME or file:/path, never as the value itself")

    def reveal(self) -> str:
        """Read the value now. Call it in the process that needs it and do not keep it.

        Raises:
            ConfigError: The variable or the file is missing or empty.
        """
        value = self._read()
        _revealed.add(value)
        return value

    def _read(self) -> str:
        kind, _, rest = self.reference.partition(":")
        if kind == "env":
            value = os.environ.get(rest, "")  # noqa: TID251  this module is the home of the environment
            if not value.strip():
                raise ConfigError(
                    f"the environment variable {rest} is not set (the config refers to it as env:{rest}); export it before "
                    "the command starts, on a cluster on every node, or write file:/path of a file that holds the value"
                )
            return value.strip()
        path = Path(rest).expanduser()
        try:
            value = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"cannot read the secret file {path}: {error.strerror}; write the value into it, readable by this user, or "
                "correct the path"
            ) from error
        except UnicodeDecodeError:
            raise ConfigError(
                f"the secret file {path} is not UTF-8 text; write the value and nothing else into it"
            ) from None
        if not value.strip():
            raise ConfigError(f"the secret file {path} is empty; write the value into it")
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


def variable(name: str) -> str:
    """An environment variable that holds no secret; empty when it is not set."""
    return os.environ.get(name, "")  # noqa: TID251  this module is the home of the environment


def is_reference(text: str) -> bool:
    """`env:NAME` or `file:/path`."""
    return text.startswith(_REFERENCES) and not text.endswith(":")


def is_pasted(key: str, value: str) -> bool:
    """Whether the setting called `key` holds a secret itself: under a name for secrets, or within an address."""
    if key.rpartition(".")[2].lower() in _SETTINGS:
        return bool(value) and not is_reference(value)
    if not value.startswith(("http://", "https://")) or any(letter.isspace() for letter in value):
        return False
    try:
        address = urlsplit(value)
        parameters = {name.lower() for name, text in parse_qsl(address.query) if text}
        return bool(address.username or address.password or parameters & _SETTINGS)
    except ValueError:  # no address after all; who takes it says so
        return False


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


def redact(text: str, values: Sequence[str] | None = None) -> str:
    """`text` without any secret that this process knows, as it is and as JSON, addresses and pages spell it.

    `values` are the secrets, for who asks often; None: `known()`.
    """
    for value in known() if values is None else values:
        text = _spelled(value).sub(HIDDEN, text)
    return text


@lru_cache(maxsize=256)
def _spelled(value: str) -> re.Pattern[str]:
    """Matches the value, each of its letters plain or escaped."""
    return re.compile(
        "".join(letter if letter.isascii() and letter.isalnum() else _escaped(letter) for letter in value)
    )


def _escaped(letter: str) -> str:
    code = ord(letter)
    ways = {letter, f"\\{letter}", f"\\u{code:04x}", f"\\u{code:04X}", f"&#{code};", f"&#x{code:x};", escape(letter)}
    percent = "".join(f"%{byte:02X}" for byte in letter.encode())
    ways |= {percent, percent.lower()}
    if letter == " ":
        ways.add("+")
    return f"(?:{'|'.join(re.escape(way) for way in sorted(ways))})"


def known() -> list[str]:
    """What this process has revealed, and its environment's keys; longer ones first, as one may hold another."""
    environment = {
        value.strip()
        for name, value in os.environ.items()  # noqa: TID251  as above
        if _NAMES.search(name)
    }
    return sorted((value for value in _revealed | environment if len(value) >= MIN_CHARS), key=len, reverse=True)
