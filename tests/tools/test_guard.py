from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_searcher.tools.guard import Address, Guard, Refused, check_url, is_public, system_lookup

INSIDE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",  # Teredo with 169.254.169.254 as client, bits flipped
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff02::1",
    "2a00:1450::5efe:a9fe:a9fe",  # ISATAP
]


@pytest.mark.parametrize("address", INSIDE)
def test_inside_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_outside_addresses_are_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
@settings(deadline=None)
def test_wrapping_an_address_does_not_make_it_public(address: object) -> None:
    if not is_public(str(address)):
        high, low = divmod(int.from_bytes(bytes(map(int, str(address).split("."))), "big"), 65536)
        for wrapped in (
            f"::ffff:{address}",
            f"64:ff9b::{high:x}:{low:x}",
            f"2002:{high:x}:{low:x}::1",
            f"2001:0:{high:x}:{low:x}::",
        ):
            assert not is_public(wrapped)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/", "not an http or https address"),
        ("file:///etc/passwd", "not an http or https address"),
        ("example.com", "not an http or https address"),
        ("", "not an http or https address"),
        ("http://", "not"),
        ("http://user:pw@example.com/", "addresses with a user name are not allowed"),
        ("http://example.com:22/", "port 22 is not allowed"),
        ("http://example.com:99999/", "not a valid address"),
        ("http://]", "not a valid address"),
        ("http://127.0.0.1/", "address not allowed"),
        ("http://[::1]/", "address not allowed"),
        ("http://[64:ff9b::a9fe:a9fe]/", "address not allowed"),
        ("http://169.254.169.254/latest/meta-data", "address not allowed"),
    ],
)
def test_urls_that_may_not_be_asked_for(url: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        check_url(url)


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_as_a_url_is_taken_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.com/{text}"):
        with contextlib.suppress(Refused):
            assert check_url(url).scheme in ("http", "https")


@pytest.mark.parametrize("spelling", ["0x7f.1", "2130706433", "017700000001", "127.1", "localhost"])
async def test_other_spellings_of_this_machine_are_refused_when_resolved(spelling: str) -> None:
    with pytest.raises(Refused, match="address not allowed"):
        await Guard(lookup=system_lookup).resolve(spelling, 80)


async def test_one_inside_address_among_many_spoils_them_all() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(Refused):
        await Guard(lookup=lookup).resolve("two.example", 80)


async def test_the_address_that_was_checked_is_the_one_that_is_used() -> None:
    answers = [["8.8.8.8"], ["169.254.169.254"]]

    async def lookup(host: str, port: int) -> list[str]:
        return answers.pop(0)

    guard = Guard(lookup=lookup)
    found = await guard.resolve("rebinding.example", 80)
    assert [(entry["host"], entry["port"]) for entry in found] == [("8.8.8.8", 80)]
    with pytest.raises(Refused):
        await guard.resolve("rebinding.example", 80)


async def test_allowed_names_and_those_below_them_go_to_our_server() -> None:
    guard = Guard(allow={"mini.web": Address(host="127.0.0.1", port=4321)}, lookup=system_lookup)
    for host in ("mini.web", "flags.mini.web", "FLAGS.mini.web."):
        found = await guard.resolve(host, 80)
        assert [(entry["host"], entry["port"]) for entry in found] == [("127.0.0.1", 4321)]


async def test_names_that_only_look_allowed_are_resolved_like_any_other() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return []

    with pytest.raises(Refused, match="no such host"):
        await Guard(allow={"mini.web": Address(host="127.0.0.1", port=1)}, lookup=lookup).resolve("evilmini.web", 80)
