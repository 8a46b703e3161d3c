"""Cases 26 and 27: no address and no spelling of one leads inside, whoever writes it and however it is reached."""

from __future__ import annotations

import socket

import pytest

from gen_searcher.config.agent import FetchConfig
from gen_searcher.tools.guard import Guard, Refused
from gen_searcher.tools.http import Fetcher
from tests.faults.web import Served, Watch, says

TARGETS = [
    "127.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:a9fe:a9fe::1]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[::1%25lo]",
    "[fd00:ec2::254]",
    "[ff02::1]",
]
SPELLINGS = [
    "2130706433",  # decimal
    "017700000001",  # octal
    "0x7f000001",  # hexadecimal
    "0x7F.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "127.0.0.0x1",
    "127.000.000.001",
    "127.0.0.1.",
    "127.1.",
    "2852039166",  # 169.254.169.254
    "0xa9fea9fe",
    "169.16689662",
    "\uff11\uff12\uff17.0.0.1",  # fullwidth digits
    "\u2460\u2461\u2466.0.0.1",  # circled digits
    "\u0661\u0662\u0667.0.0.1",  # Arabic-Indic digits
    "127\u30020\u30020\u30021",  # ideographic full stops
    "127\uff0e0\uff0e0\uff0e1",
    "1\u00ad27.0.0.1",  # soft hyphen
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "127.0.0.1%00.example.com",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",  # circled letters
    "",
    ".",
    "..",
    "[",
    "[::ffff:127.0.0.1",
    "[127.0.0.1]",
    "[::1]x",
]
URLS = [
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1@example.com/",
    "http://a:b@127.0.0.1/",
    "http://@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:///127.0.0.1/",
    "http:/127.0.0.1/",
    "http:127.0.0.1",
    "//127.0.0.1/",
    "http://127.0.0.1:80/",
    "http://127.0.0.1:443/",
    "http://127.0.0.1:22/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\r\nHost: x/",
    "ht\ntp://127.0.0.1/",
    "https://127.0.0.1/",
    "HTTP://127.0.0.1/",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:70/_x",
    "ftp://127.0.0.1/",
    "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/",
    "jar:http://127.0.0.1!/",
    "data:text/html,x",
    "javascript:alert(1)",
    "ws://127.0.0.1/",
    "unix:///var/run/docker.sock",
    "http+unix://%2fvar%2frun%2fdocker.sock/",
]
ALL = [f"http://{host}/" for host in [*TARGETS, *SPELLINGS]] + URLS


async def refused(url: str, *, fetcher: Fetcher | None = None) -> str:
    fetcher = fetcher or Fetcher(FetchConfig(attempts=1, connect_timeout_s=1, total_timeout_s=1))
    try:
        with pytest.raises(Refused) as error:
            await fetcher.get(url, stage="browse", types=("text/html",))
    finally:
        await fetcher.close()
    return error.value.reason


@pytest.mark.fault(27)
@pytest.mark.parametrize("url", ALL)
async def test_no_spelling_leads_inside(url: str) -> None:
    watch = Watch()
    before = watch.connections
    assert await refused(url)
    assert watch.connections == before  # not even a try
    watch.nothing_left_loopback()


@pytest.mark.fault(26, 27)
@pytest.mark.parametrize("url", ALL)
async def test_no_redirect_leads_inside(url: str) -> None:
    if any(letter in url for letter in "\r\n") or not url.isascii():
        url = url.encode("ascii", "backslashreplace").decode().replace("\r", "").replace("\n", "")
    watch = Watch()
    async with Served(says(b"", status=302, headers={"Location": url})) as served:
        fetcher = Fetcher(FetchConfig(attempts=1, max_redirects=3), allow={"site.test": served.address})
        assert await refused("http://site.test/", fetcher=fetcher)
        hosts = {head.split("Host: ")[1].split("\r\n")[0] for head in served.heads}
        assert hosts == {"site.test"}
        assert watch.connections - watch.began <= 4
    watch.nothing_left_loopback()


@pytest.mark.fault(26)
async def test_redirects_without_end_have_one() -> None:
    watch = Watch()
    async with Served(says(b"", status=302, headers={"Location": "/again"})) as served:
        fetcher = Fetcher(FetchConfig(max_redirects=5), allow={"site.test": served.address})
        assert await refused("http://site.test/", fetcher=fetcher) == "more than 5 redirects"
        assert len(served.heads) == 6
    watch.nothing_left_loopback()


@pytest.mark.fault(27)
async def test_a_name_that_changes_its_mind_after_a_redirect_is_refused() -> None:
    answers = [["169.254.169.254"]]

    async def lookup(host: str, port: int) -> list[str]:
        return answers[0]

    watch = Watch()
    async with Served(says(b"", status=302, headers={"Location": "http://rebinding.test/latest/meta-data"})) as served:
        fetcher = Fetcher(FetchConfig(), allow={"site.test": served.address}, lookup=lookup)
        assert await refused("http://site.test/", fetcher=fetcher) == "address not allowed"
        assert len(served.heads) == 1
    watch.nothing_left_loopback()


@pytest.mark.fault(27)
async def test_a_name_is_looked_up_once_a_connection_and_what_was_found_is_connected_to() -> None:
    answers = [["93.184.216.34"], ["169.254.169.254"], ["93.184.216.34", "10.0.0.1"]]
    asked: list[str] = []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers.pop(0)

    guard = Guard(lookup=lookup)
    (found,) = await guard.resolve("rebinding.test", 80)
    assert asked == ["rebinding.test"]
    assert (found["host"], found["flags"]) == ("93.184.216.34", socket.AI_NUMERICHOST)  # nobody looks it up again
    for _ in range(2):  # an inside address, and one that hides behind a public one
        with pytest.raises(Refused, match="address not allowed"):
            await guard.resolve("rebinding.test", 80)


@pytest.mark.fault(27)
async def test_an_address_of_version_6_alone_is_used_as_such() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["2606:4700:4700::1111"]

    (found,) = await Guard(lookup=lookup).resolve("six.example", 443)
    assert (found["host"], found["family"], found["port"]) == ("2606:4700:4700::1111", socket.AF_INET6, 443)


async def test_a_public_address_in_plain_form_is_still_taken() -> None:
    from gen_searcher.tools.guard import check_url

    for url in ("http://93.184.216.34/", "http://[2606:4700:4700::1111]/", "http://1.example.com/", "http://a.b0x1/"):
        assert str(check_url(url)) == url
