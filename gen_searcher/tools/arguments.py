"""The arguments of the three tools: what the policy may write, and what it is told when it wrote something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from gen_searcher.types import ToolCall

MAX_QUERIES = 5
"""Queries per search call."""

MAX_PAGES = 5
"""Pages per browse call."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]
Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
TopK = Annotated[int, Field(ge=1, le=10)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _renamed(value: object, *, old: str, new: str) -> object:
    """A policy that knows the tool by another name for an argument means the same; both at once is a mistake."""
    if not isinstance(value, Mapping):
        return value
    fields = dict(cast("Mapping[str, object]", value))
    if old in fields and new not in fields:
        fields[new] = fields.pop(old)
    return fields


class SearchArguments(_Arguments):
    """Arguments of `search`. One query may come as bare text, under `queries` or `query`."""

    queries: Annotated[list[Words], Field(min_length=1, max_length=MAX_QUERIES)]
    top_k: TopK | None = None

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        fields = _renamed(value, old="query", new="queries")
        if isinstance(fields, dict):
            listed = cast("dict[str, object]", fields)
            if isinstance(listed.get("queries"), str):
                return {**listed, "queries": [listed["queries"]]}
        return fields


class ImageSearchArguments(_Arguments):
    """Arguments of `image_search`."""

    query: Words
    top_k: TopK | None = None


class BrowseArguments(_Arguments):
    """Arguments of `browse`. The query may be called `goal`; several pages may be read at once."""

    url: Url | Annotated[list[Url], Field(min_length=1, max_length=MAX_PAGES)]
    query: Words

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return _renamed(value, old="goal", new="query")


_MODELS: Mapping[str, type[_Arguments]] = {
    "search": SearchArguments,
    "image_search": ImageSearchArguments,
    "browse": BrowseArguments,
}

_FORMS: Mapping[str, str] = {
    "search": '{"name": "search", "arguments": {"queries": ["..."]}}',
    "image_search": '{"name": "image_search", "arguments": {"query": "..."}}',
    "browse": '{"name": "browse", "arguments": {"url": "http://...", "query": "..."}}',
}

_TOP_K: Mapping[str, object] = {"type": "integer", "minimum": 1, "maximum": 10}

TOOL_SCHEMAS: tuple[Mapping[str, object], ...] = (
    {
        "name": "search",
        "description": "Find web pages. Gives title, address and a snippet for each page; several queries run at once.",
        "parameters": {
            "type": "object",
            "properties": {
                "queries": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_QUERIES},
                "top_k": {**_TOP_K, "description": "pages per query"},
            },
            "required": ["queries"],
        },
    },
    {
        "name": "image_search",
        "description": "Find pictures. Shows each picture with its title and the id to cite it by.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "top_k": {**_TOP_K, "description": "pictures"}},
            "required": ["query"],
        },
    },
    {
        "name": "browse",
        "description": "Read one web page. Gives the sentences that bear on the query.",
        "parameters": {
            "type": "object",
            "properties": {"url": {"type": "string"}, "query": {"type": "string"}},
            "required": ["url", "query"],
        },
    },
)
"""The tools as the full system prompt lists them."""


def find_mistake(call: ToolCall) -> str | None:
    """What is wrong with a call and what to write instead, or None when it can be run."""
    model = _MODELS.get(call.name)
    if model is None:
        return f"there is no tool {call.name[:40]!r}. The tools are {', '.join(_MODELS)}."
    try:
        model.model_validate(dict(call.arguments))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])[:60] or "arguments"
        return f"{call.name}: {place}: {first['msg']}. Write {_FORMS[call.name]}"
    return None
