"""What is taken out of texts and errors, and which settings are refused because a key stands in them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from gen_searcher.config.redaction import cleaned, without_secrets
from gen_searcher.config.secrets import HIDDEN, Secret, is_pasted, redact
from gen_searcher.errors import ConfigError, ProviderOverloaded, WorldError
from gen_searcher.web import Hit

pytestmark = pytest.mark.fault(44)

FROM_FILE = "canary-file-77ab02"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(FROM_FILE)
    return tmp_path / "key"


def test_values_keep_their_form_without_their_secrets(keys: Path) -> None:
    key = Secret(f"file:{keys}").reveal()
    hit = Hit(title=f"a {key}", url="http://a/", snippet="plain")
    assert cleaned([hit, hit]) == [Hit(title=f"a {HIDDEN}", url="http://a/", snippet="plain")] * 2
    assert cleaned({key: (key, 1, None, b"x")}) == {HIDDEN: (HIDDEN, 1, None, b"x")}
    plain = Hit(title="a", url="b", snippet="c")
    assert cleaned(plain) is plain


def test_half_an_escaped_character_does_not_pass_whether_there_is_a_secret_or_not() -> None:
    hit = Hit(title="half \ud83d", url="http://a/", snippet="whole \U0001f600")
    assert cleaned([hit]) == [Hit(title="half ?", url="http://a/", snippet="whole \U0001f600")]
    error = pickle.loads(pickle.dumps(ProviderOverloaded("said \ud83d", "search", 3.5)))
    assert (error.message, str(error)) == ("said ?", "search: said ?")


@pytest.mark.parametrize(
    "spelled",
    [
        'a/b+c=d"e\\f g',
        'a\\/b+c=d\\"e\\\\f g',
        "a%2Fb%2Bc%3Dd%22e%5Cf%20g",
        "a%2fb%2bc%3dd%22e%5cf+g",
        "a/b%2Bc%3Dd%22e%5Cf%20g",
        "a/b+c=d&quot;e\\f g",
        "a/b+c=d&#34;e\\f g",
        "a/b\\u002bc=d\\u0022e\\\\f g",
    ],
)
def test_a_secret_is_found_as_json_addresses_and_pages_spell_it(monkeypatch: pytest.MonkeyPatch, spelled: str) -> None:
    monkeypatch.setenv("SOME_TOKEN", 'a/b+c=d"e\\f g')
    assert redact(f"<{spelled}> a/b+c") == f"<{HIDDEN}> a/b+c"


def test_an_error_keeps_its_kind_and_what_it_knows_beside_the_key(keys: Path) -> None:
    key = Secret(f"file:{keys}").reveal()
    error = without_secrets(ProviderOverloaded(f"p: {key}", "search", 3.5), stage="tool")
    assert isinstance(error, ProviderOverloaded)
    assert (str(error), error.retry_after_s, error.stage) == (f"search: p: {HIDDEN}", 3.5, "search")
    plain = ValueError("nothing secret")
    assert without_secrets(plain, stage="tool") is plain

    class Odd(Exception):
        def __str__(self) -> str:
            return f"made of {key}"

    odd = without_secrets(Odd(), stage="generate")
    assert isinstance(odd, WorldError)
    assert str(odd) == f"generate: Odd: made of {HIDDEN}"


ADDRESSES = {
    "http://searx.test/": False,
    "http://searx.test/?q=token": False,
    f"http://user:{FROM_FILE}@searx.test/": True,
    f"http://{FROM_FILE}@searx.test/": True,
    f"https://searx.test/?api_key={FROM_FILE}": True,
    f"https://searx.test/?a=1&Token={FROM_FILE}#x": True,
    "http://[broken": False,
    f"a request that names http://u:{FROM_FILE}@x/": False,
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_key_in_it_is_known(address: str) -> None:
    assert is_pasted("search.search.base_url", address) is ADDRESSES[address]


def test_short_values_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "on")
    assert redact("turn it on") == "turn it on"


def test_an_unset_key_and_a_file_that_is_no_text_are_named_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe" + FROM_FILE.encode())
    with pytest.raises(ConfigError, match="is not UTF-8 text") as caught:
        Secret(f"file:{path}").reveal()
    assert FROM_FILE not in repr(caught.value)
