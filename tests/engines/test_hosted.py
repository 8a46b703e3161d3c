"""The adapters speak their protocols, fail in types, and the server speaks the reference's."""

from __future__ import annotations

import base64
import io
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from gen_searcher.config.secrets import Secret
from gen_searcher.engines.hosted import http
from gen_searcher.engines.hosted.ark import ArkImages
from gen_searcher.engines.hosted.gemini import GeminiImages
from gen_searcher.engines.hosted.openai_images import OpenAIImages
from gen_searcher.engines.hosted.reference import ReferenceService
from gen_searcher.engines.hosted.server import GeneratorServer
from gen_searcher.errors import (
    GeneratorError,
    GeneratorGone,
    GeneratorInvalid,
    GeneratorOverloaded,
    GeneratorRefused,
    GeneratorUnavailable,
)
from gen_searcher.protocols import ImageModel
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.generator_kit import CASES, check_generator
from gen_searcher.tools.limited import close
from tests.engines.hosted_services import KEY, ark_service, gemini_service, openai_service, serving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def key(tmp_path: Path) -> Secret:
    (tmp_path / "key").write_text(KEY)
    return Secret(f"file:{tmp_path / 'key'}")


async def draw(model: ImageModel) -> Image.Image:
    """One picture, and the connections are closed."""
    try:
        return await model.draw("x", [], seed=0)
    finally:
        await close(model)


async def conforms(model: ImageModel, keywords: dict[str, object]) -> None:
    report = await check_generator(model, type(model).declare(keywords))  # type: ignore[attr-defined]
    await close(model)
    assert len(report.verdicts) == len(CASES) >= 15
    assert report.failed == (), report.text()


@pytest.mark.parametrize("seeds", [True, False])
async def test_the_openai_adapter_conforms(key: Secret, seeds: bool) -> None:
    async with serving("/v1/images/{kind}", openai_service(takes_seed=seeds)) as root:
        model = OpenAIImages(base_url=f"{root}/v1", model="m", key=key, sends_seed=seeds)
        await conforms(model, {"sends_seed": seeds})


async def test_the_ark_adapter_conforms(key: Secret) -> None:
    async with serving("/api/v3/images/generations", ark_service) as root:
        await conforms(ArkImages(base_url=f"{root}/api/v3", model="m", key=key), {})


async def test_the_gemini_adapter_conforms(key: Secret) -> None:
    async with serving("/v1beta/models/m:generateContent", gemini_service) as root:
        await conforms(GeminiImages(base_url=f"{root}/v1beta", model="m", key=key), {})


async def test_the_reference_client_conforms_against_our_server() -> None:
    server = GeneratorServer(FakeImageModel())
    try:
        await conforms(ReferenceService(url=await server.start()), {})
    finally:
        await server.stop()


class Sizes(FakeImageModel):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[tuple[tuple[int, int], object]]] = []

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        self.seen.append([(picture.size, picture.getpixel((0, 0))) for picture in references])
        return await super().draw(prompt, references, seed=seed)


async def test_a_service_that_takes_no_call_without_a_picture_is_sent_a_white_one() -> None:
    model = Sizes()
    server = GeneratorServer(model)
    try:
        root = await server.start()
        await draw(ReferenceService(url=root))
        await draw(ReferenceService(url=root, blank_px=(8, 4)))
    finally:
        await server.stop()
    assert model.seen == [[], [((8, 4), (255, 255, 255))]]
    assert ReferenceService.declare({"url": "u", "blank_px": (8, 4)}).revision == "u None blank (8, 4)"


STATUSES = [
    (429, {"error": "slow down"}, GeneratorOverloaded),
    (503, {}, GeneratorUnavailable),
    (404, {"error": {"code": "model_not_found"}}, GeneratorGone),
    (400, {"error": {"code": "content_policy_violation"}}, GeneratorRefused),
    (400, {"error": {"code": "invalid_size"}}, GeneratorInvalid),
    (403, {"error": {"code": "moderation_blocked"}}, GeneratorRefused),
    (400, {"error": {"code": "OutputImageSensitiveContentDetected.PolicyViolation"}}, GeneratorRefused),
    (400, {"error": {"code": None, "inner_error": {"code": "ResponsibleAIPolicyViolation"}}}, GeneratorRefused),
    (400, {"error": {"code": "400", "message": "litellm.ContentPolicyViolationError: no"}}, GeneratorRefused),
    (403, {"success": False, "message": "content_policy: violence"}, GeneratorRefused),
    (400, {"error": {"code": "unknown_parameter", "message": "Unknown parameter: 'moderation'."}}, GeneratorInvalid),
    (400, {"error": {"code": "invalid_value", "type": "content_policy", "param": "moderation"}}, GeneratorInvalid),
    (422, {"detail": [{"loc": ["body", "safety_tolerance"], "msg": "extra fields"}]}, GeneratorInvalid),
    (403, "<html>This site is prohibited by the policy of your network: content_policy</html>", GeneratorGone),
    (409, {"error": {"code": "content_policy_violation"}}, GeneratorInvalid),
    (401, {"error": {"code": "invalid_api_key"}}, GeneratorGone),
    (402, {}, GeneratorGone),
    (403, {}, GeneratorGone),
    (302, {}, GeneratorInvalid),
    (400, {"error": {"code": "billing_hard_limit_reached"}}, GeneratorGone),
    (429, {"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}, GeneratorGone),
    (429, {"error": {"type": "insufficient_quota", "code": None}}, GeneratorGone),
    (400, {"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}, GeneratorGone),
    (400, {"error": {"status": "INVALID_ARGUMENT", "message": "API key expired. Renew it."}}, GeneratorGone),
    (400, {"error": {"code": "model_not_found"}}, GeneratorGone),
    (503, {"error": {"code": "insufficient_quota"}}, GeneratorUnavailable),
    (200, {"data": []}, GeneratorError),
    (200, {"data": [{"b64_json": "!!"}]}, GeneratorError),
    (200, {"data": [{"b64_json": base64.b64encode(b"no picture").decode()}]}, GeneratorError),
    (200, [], GeneratorError),
]


@pytest.mark.parametrize(("status", "body", "kind"), STATUSES)
async def test_every_failure_has_its_type(status: int, body: object, kind: type[Exception]) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers={"Retry-After": "7", "Location": "/elsewhere"})

    async with serving("/images/generations", answer) as root:
        with pytest.raises(kind) as caught:
            await draw(OpenAIImages(base_url=root, model="m"))
    assert type(caught.value) is kind
    if isinstance(caught.value, GeneratorOverloaded):
        assert caught.value.retry_after_s == 7.0


async def test_drawings_one_after_the_other_share_a_connection(key: Secret) -> None:
    peers: set[object] = set()
    keys: list[str] = []
    picture = base64.b64encode(http.png(Image.new("RGB", (4, 4)))).decode()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        keys.append(request.headers["Authorization"])
        return web.json_response({"data": [{"b64_json": picture}]})

    async with serving("/images/{kind}", answer) as root:
        model = OpenAIImages(base_url=root, model="m", key=key)
        for references in ([], [Image.new("RGB", (2, 2))], []):
            assert (await model.draw("x", references, seed=0)).size == (4, 4)
        assert len(peers) == 1
        assert (await draw(model)).size == (4, 4)
        assert (await draw(model)).size == (4, 4)  # closed and opened again
    assert len(peers) == 2
    assert keys == [f"Bearer {KEY}"] * 5


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(GeneratorUnavailable, match=r"127\.0\.0\.1:9"):
        await draw(OpenAIImages(base_url="http://127.0.0.1:9", model="m"))


async def test_an_endless_reply_and_a_giant_picture_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 200_000)

    monkeypatch.setattr(http, "MAX_REPLY_BYTES", 100_000)
    async with serving("/images/generations", answer) as root:
        with pytest.raises(GeneratorError, match="longer than 100000 bytes"):
            await draw(OpenAIImages(base_url=root, model="m"))
    monkeypatch.setattr(http, "MAX_PIXELS", 99)
    buffer = io.BytesIO()
    Image.new("RGB", (10, 10)).save(buffer, format="PNG")
    with pytest.raises(GeneratorError, match="claims 10x10 px"):
        http.decode(buffer.getvalue())


@pytest.mark.parametrize(
    "reply",
    [
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [{"finishReason": "IMAGE_SAFETY", "content": {}}]},
        {"candidates": [{"finishReason": "PROHIBITED_CONTENT"}]},
    ],
)
async def test_gemini_says_no_with_status_200(key: Secret, reply: dict[str, object]) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(reply)

    async with serving("/models/m:generateContent", answer) as root:
        with pytest.raises(GeneratorRefused):
            await draw(GeminiImages(base_url=root, model="m", key=key))


BAD_REQUESTS = [
    ({"prompt": "x", "image_urls": ["http://169.254.169.254/"]}, 400, "only data URLs"),
    ({"prompt": "x", "image_urls": ["data:image/png;base64,AAAA"]}, 400, "cannot be decoded"),
    ({"prompt": ""}, 422, "prompt"),
    ({"image_urls": []}, 422, "prompt"),
    ({"prompt": "bomb"}, 500, "RuntimeError"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD_REQUESTS)
async def test_the_server_says_what_is_wrong_and_shows_no_traceback(
    body: dict[str, object], status: int, words: str
) -> None:
    server = GeneratorServer(FakeImageModel(fails_on="bomb"))
    url = await server.start()
    async with aiohttp.ClientSession() as session, session.post(f"{url}/generate", json=body) as response:
        said = await response.json()
    await server.stop()
    assert (response.status, said["success"]) == (status, False)
    assert words in said["message"]
    assert "Traceback" not in said["message"]


async def test_the_server_takes_what_the_reference_client_sends_and_logs_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`image_urls` null is what it sends for a prompt without references."""
    caplog.set_level("INFO")
    server = GeneratorServer(FakeImageModel())
    url = await server.start()
    body = {"prompt": "x", "image_urls": None, "seed": 0, "true_cfg_scale": 4.0, "num_inference_steps": 40}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/generate", json=body) as response:
            said = await response.json()
        async with session.get(f"{url}/health") as health:
            assert (await health.json())["status"] == "healthy"
    await server.stop()
    assert http.decode_base64(said["image"]).size == (64, 80)
    assert len([line for line in caplog.messages if "POST /generate 200 0 references, 64x80 px" in line]) == 1
