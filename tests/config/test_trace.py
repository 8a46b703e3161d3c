"""Settings of traces: what is wrong is named before anything starts, and a key pasted into them is never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_searcher.commands import preflight
from gen_searcher.config import load
from gen_searcher.config.trace import TraceConfig
from gen_searcher.errors import ConfigError

FORM = "trace.endpoint: must be the address of a receiver of OTLP over HTTP: http:// or https://, a host"
WRONG = [
    "localhost:4318",
    "ftp://collector:4318",
    "http://",
    "http://:4318",
    "http://collector:http",
    "'http://collector:4318/#here'",
    "'http://collector 4318'",
    "collector",
    "'http://user:sesame-open@collector:4318'",
    "'http://collector:4318?api_key=sesame-open'",
    "sesame-open@collector",
]
URLS = [
    ("http://collector:4318", "http://collector:4318/v1/traces"),
    ("http://collector:4318/", "http://collector:4318/v1/traces"),
    ("https://host/api/public/otel", "https://host/api/public/otel/v1/traces"),
    ("https://host/v1/traces", "https://host/v1/traces"),
    ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
]


@pytest.mark.parametrize("endpoint", WRONG)
def test_a_wrong_endpoint_is_named_with_what_to_write_and_not_repeated(endpoint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load.load(["experiment=smoke", f"trace.endpoint={endpoint}"])
    assert FORM in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(("endpoint", "url"), URLS)
def test_the_path_of_traces_is_added_once(endpoint: str, url: str) -> None:
    assert TraceConfig(endpoint=endpoint).url == url


def test_off_by_default_and_by_its_group_at_this_machine() -> None:
    assert load.load(["experiment=smoke"]).trace == TraceConfig()
    assert TraceConfig().url is None
    assert load.load(["experiment=smoke", "trace=otlp"]).trace.url == "http://localhost:4318/v1/traces"


@pytest.mark.parametrize("share", ["-0.1", "1.5", "much"])
def test_a_share_is_between_nothing_and_all(share: str) -> None:
    with pytest.raises(ConfigError, match=r"trace\.sample"):
        load.load(["experiment=smoke", f"trace.sample={share}"])


def test_a_header_is_a_reference_and_stays_one_in_what_is_written_down() -> None:
    with pytest.raises(ConfigError, match=r"trace\.headers\.authorization: a secret must be written as") as caught:
        load.load(["experiment=smoke", "trace.headers.authorization=sesame-open"])
    assert "sesame" not in str(caught.value)
    cfg = load.load(["experiment=smoke", "trace.headers.authorization=env:OTLP_AUTHORIZATION"])
    assert "authorization: env:OTLP_AUTHORIZATION" in load.dump_yaml(cfg)


def test_a_name_that_no_header_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"is no name of an HTTP header"):
        load.load(["experiment=smoke", "trace.headers={two words: env:X}"])


def found(tmp_path: Path, *settings: str) -> list[str]:
    cfg = load.load(["experiment=smoke", f"run_dir='{tmp_path}/run'", *settings])
    return list(preflight.problems(cfg, command="grpo"))


def test_a_header_without_its_secret_is_found_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTLP_AUTHORIZATION", raising=False)
    header = "trace.headers.authorization=env:OTLP_AUTHORIZATION"
    (problem,) = found(tmp_path, "trace=otlp", header)
    assert problem.startswith("trace.headers.authorization: the environment variable OTLP_AUTHORIZATION is not set")
    assert found(tmp_path, header) == []  # nothing is sent, so nothing is missing
    monkeypatch.setenv("OTLP_AUTHORIZATION", "Bearer x")
    assert found(tmp_path, "trace=otlp", header) == []


def test_a_missing_package_is_named_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gen_searcher.commands.preflight.importlib.util.find_spec", lambda _: None)
    (problem,) = found(tmp_path, "trace=otlp")
    assert problem == (
        "trace.endpoint: needs opentelemetry-exporter-otlp-proto-http; pip install 'gen_searcher[traces]'"
    )
    assert found(tmp_path) == []
