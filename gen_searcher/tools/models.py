"""Whether an OpenAI-compatible server would serve a model: `GET {base}/models` -> a few words, or a typed error.

OpenAI, vLLM and SGLang list what they serve. OpenAI adds the day on which a model ends (`shutdown_date`,
https://developers.openai.com/api/docs/deprecations).
"""

from __future__ import annotations

import difflib

from gen_searcher.errors import ProviderInvalid
from gen_searcher.tools.api import JsonApi
from gen_searcher.tools.reply import Source, rows, text

STAGE = "standing"
_NO_LIST = (": status 404", ": status 405")
_MOST_NAMED = 3


async def model_standing(api: JsonApi, model: str) -> str:
    """What the server says of `model`. The list costs nothing; nothing is generated.

    Raises:
        ProviderRefused: The key is not accepted.
        ProviderInvalid: The server does not serve the model, or what answers is no such server.
        ProviderDown, ProviderOverloaded: No answer now.
    """
    try:
        listed = rows(await api.get("/models", stage=STAGE), "data", of=Source(provider=api.provider, stage=STAGE))
    except ProviderInvalid as error:
        if any(status in error.message for status in _NO_LIST):
            return "not checked: there is no list of models below base_url; does base_url end as the service says, e.g. with /v1?"
        raise
    by_name = {text(row, "id"): row for row in listed}
    if model not in by_name:
        close = difflib.get_close_matches(model, by_name, n=_MOST_NAMED, cutoff=0.4) or sorted(by_name)[:_MOST_NAMED]
        raise ProviderInvalid(
            f"{api.provider}: the model {model!r} is not served there; served are {', '.join(close) or 'none'}", STAGE
        )
    ends = text(by_name[model], "shutdown_date")
    return f"accepted, the model {model} is there{f' until {ends}' if ends else ''}; it does not say what is left"
