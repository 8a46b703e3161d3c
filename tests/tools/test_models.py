"""Key and model against a server's own list of models; nothing is generated for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_searcher.config.secrets import Secret
from gen_searcher.errors import ProviderInvalid, ProviderRefused
from gen_searcher.testing.loopback import Answer, Loopback
from gen_searcher.tools.api import JsonApi
from gen_searcher.tools.models import model_standing

LISTED = {
    "object": "list",
    "data": [{"id": "gpt-4.1", "shutdown_date": "2027-01-14"}, {"id": "gpt-6-luna", "shutdown_date": None}],
}


@pytest.fixture
def key(tmp_path: Path) -> Secret:
    (tmp_path / "key").write_text("canary-5512-key")
    return Secret(f"file:{tmp_path}/key")


async def said(answer: Answer, model: str, key: Secret) -> tuple[str, Loopback]:
    async with Loopback(answer) as server:
        api = JsonApi(provider="chat server", base_url=server.base_url, key=key, key_prefix="Bearer ")
        try:
            return await model_standing(api, model), server
        finally:
            await api.close()


async def test_one_authorised_get_says_that_the_model_is_there_and_when_it_ends(key: Secret) -> None:
    answer = Answer(body=json.dumps(LISTED).encode())
    words, server = await said(answer, "gpt-4.1", key)
    assert words.startswith("accepted, the model gpt-4.1 is there until 2027-01-14;")
    (asked,) = server.requests
    assert (asked.method, asked.target, asked.body) == ("GET", "/models", "")
    assert asked.headers["Authorization"] == "Bearer canary-5512-key"
    words, _ = await said(answer, "gpt-6-luna", key)
    assert words.startswith("accepted, the model gpt-6-luna is there;")


async def test_a_model_that_is_not_served_is_refused_with_the_close_ones(key: Secret) -> None:
    with pytest.raises(ProviderInvalid, match=r"the model 'gpt-4\.2' is not served there; served are gpt-4\.1"):
        await said(Answer(body=json.dumps(LISTED).encode()), "gpt-4.2", key)


async def test_a_key_that_is_not_accepted_is_a_refusal_that_does_not_repeat_it(key: Secret) -> None:
    body = b'{"error": {"message": "Incorrect API key provided: canary-5512-key"}}'
    with pytest.raises(ProviderRefused) as refused:
        await said(Answer(status=401, body=body), "gpt-4.1", key)
    assert "status 401" in str(refused.value)
    assert "canary-5512" not in str(refused.value)


async def test_a_server_without_a_list_is_not_taken_for_one_without_the_model(key: Secret) -> None:
    words, _ = await said(Answer(status=404, body=b"not found"), "m", key)
    assert words.startswith("not checked: there is no list of models below base_url")
