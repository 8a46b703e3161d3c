"""An image service's error body -> what it is about, by its codes: words are no evidence, they quote what was asked.

Codes are read where the services put them: OpenAI's `error.code` and `error.type`, Azure's inner error, Google's
`error.status` and `error.details[].reason`, Ark's `error.code` with what follows a full stop cut off. The reference's
protocol has a message only, which our server begins with the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

_REFUSAL = frozenset(
    {
        "content_filter",
        "content_policy",
        "content_policy_violation",
        "contentfilter",
        "inputimageriskdetection",
        "inputimagesensitivecontentdetected",
        "inputtextriskdetection",
        "inputtextsensitivecontentdetected",
        "moderation_blocked",
        "outputimageriskdetection",
        "outputimagesensitivecontentdetected",
        "responsibleaipolicyviolation",
        "sensitivecontentdetected",
    }
)
"""The content was declined."""
_MISTAKE = frozenset(
    {"invalid_value", "missing_required_parameter", "unknown_parameter", "unsupported_parameter", "unsupported_value"}
)
"""The request has a field that the service does not take, whatever else the body says."""
_ACCOUNT = frozenset(
    {
        "account_deactivated",
        "accountoverdueerror",
        "api_key_invalid",
        "billing_hard_limit_reached",
        "billing_not_active",
        "failed_precondition",  # Google's, of an account without billing
        "insufficient_quota",
        "invalid_api_key",
    }
)
"""The key is refused or the credit is spent."""
_MODEL = frozenset({"deployment_not_found", "model_deprecated", "model_not_found"})
_OWN_CODE = re.compile(r"(content_policy): |litellm\.[\w. :]*?(ContentPolicyViolation)Error\b")
"""How a message begins that stands for a code: that of `serve generator`, and LiteLLM's, whose code is a number."""
_KEY_WORDS = re.compile(r"api key (?:not valid|expired|is invalid)", re.IGNORECASE)
"""How Google begins the message about a key, also where a proxy leaves the details out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What an error body says of itself."""

    codes: frozenset[str] = frozenset()
    """In lower case."""
    message: str = ""

    @property
    def is_of_account(self) -> bool:
        """No request will be served until somebody sees to the key or the bill."""
        return bool(self.codes & _ACCOUNT) or _KEY_WORDS.match(self.message) is not None

    @property
    def is_of_model(self) -> bool:
        """There is no such model."""
        return bool(self.codes & _MODEL)

    @property
    def is_refusal(self) -> bool:
        """The content was declined."""
        if self.codes & _MISTAKE:
            return False
        return bool(self.codes & _REFUSAL) or _OWN_CODE.match(self.message) is not None


def read_problem(reply: bytes) -> Problem:
    """What the body says; nothing for one that is no JSON object."""
    try:
        found: object = json.loads(reply)
    except (ValueError, RecursionError):
        return Problem()
    if not isinstance(found, dict):
        return Problem()
    whole = cast("Mapping[str, object]", found)
    inner = whole.get("error")
    error = cast("Mapping[str, object]", inner) if isinstance(inner, dict) else whole
    message = error.get("message")
    codes = frozenset(code.partition(".")[0].lower() for code in _codes(error))
    return Problem(codes=codes, message=message if isinstance(message, str) else "")


def _codes(error: Mapping[str, object]) -> Iterator[str]:
    for name in ("code", "type", "status"):
        value = error.get(name)
        if isinstance(value, str):
            yield value
    for name in ("inner_error", "innererror"):
        value = error.get(name)
        if isinstance(value, dict):
            yield from _codes({"code": cast("Mapping[str, object]", value).get("code")})
    details = error.get("details")
    for detail in cast("list[object]", details) if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield from _codes({"code": cast("Mapping[str, object]", detail).get("reason")})
