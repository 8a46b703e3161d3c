"""Which addresses of the web may be reached: decided on the resolved address, which is then the one connected to.

    URL -> check_url -> host -> Guard.resolve -> public addresses only, or Refused

Every redirect hop goes through the same door. Names are resolved once per connection, so a name that changes its
mind between check and connection (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) -> its addresses. Raises OSError when there are none."""

_DENIED = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # carrier NAT: pods of some Kubernetes services, a metadata service
            "168.63.129.16/32",  # a cloud's wire server
            "169.254.0.0/16",
            "192.0.0.0/24",  # holds a metadata service at .192
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",
            "::/96",
            "64:ff9b:1::/48",
            "fc00::/7",
            "fe80::/10",
            "ff00::/8",
        ),
    )
)
"""Never reached, whatever `is_global` says in this version of Python."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")
"""A host after its letters have become ASCII; escapes in it mean different things to different readers."""

_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")
"""Decimal, octal or hexadecimal, in any script's digits."""

_NAT64 = ip_network("64:ff9b::/96")


class Refused(Exception):
    """A request that is not made, or a response that is not taken; the policy reads why."""

    def __init__(self, reason: str) -> None:
        """`reason` is a short clause for the policy."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a connection goes."""

    host: str
    """An IP address."""
    port: int


def is_public(address: str) -> bool:
    """Whether an IP address, and each one hidden inside it, belongs to the public internet."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        hidden = _hidden(ip)
        if hidden:
            return all(is_public(str(inner)) for inner in hidden)
        if int(ip) >> 32 & 0xFDFFFFFF == 0x00005EFE:  # ISATAP: an IPv4 address in the interface id
            return False
    return ip.is_global and not ip.is_multicast and not any(ip.version == net.version and ip in net for net in _DENIED)


def _hidden(ip: IPv6Address) -> tuple[IPv4Address, ...]:
    if ip.ipv4_mapped is not None:
        return (ip.ipv4_mapped,)
    if ip.sixtofour is not None:
        return (ip.sixtofour,)
    if ip.teredo is not None:
        return ip.teredo
    return (IPv4Address(int(ip) & 0xFFFFFFFF),) if ip in _NAT64 else ()


def check_url(text: str, *, allow: Mapping[str, Address] | None = None) -> URL:
    """The URL if it may be asked for at all; its name is still to be resolved. Raises Refused."""
    try:
        url = URL(text)
        host, port = url.host, url.port
    except (ValueError, IndexError):  # yarl trips over a lone bracket with an IndexError
        raise Refused("not a valid address") from None
    if url.scheme not in ("http", "https") or not host:
        raise Refused("not an http or https address")
    if url.user is not None or url.password is not None:
        raise Refused("addresses with a user name are not allowed")
    if port not in (80, 443):
        raise Refused(f"port {port} is not allowed")
    is_ours = allowed_address(host, allow or {}) is not None
    if is_ours and url.scheme == "https":
        raise Refused("this site speaks http only")
    if not _is_ip(host) and not _NAME.fullmatch(url.raw_host or ""):
        raise Refused("not a valid address")
    if not is_ours and (_is_odd_number(host) or (_is_ip(host) and not is_public(host))):
        raise Refused("address not allowed")
    return url.with_fragment(None)


def allowed_address(host: str, allow: Mapping[str, Address]) -> Address | None:
    """Where `allow` sends a host: it maps a name to an address, for the name itself and every name below it."""
    name = host.lower().rstrip(".")
    for suffix, address in allow.items():
        if name == suffix or name.endswith(f".{suffix}"):
            return address
    return None


async def system_lookup(host: str, port: int) -> list[str]:
    """Ask the operating system."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class Guard(AbstractResolver):
    """An aiohttp resolver that knows no address it should not."""

    def __init__(self, *, allow: Mapping[str, Address] | None = None, lookup: Lookup = system_lookup) -> None:
        """`allow` sends hosts by suffix to an address of ours without further checks, e.g. a loopback server."""
        self.allow = dict(allow or {})
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses to connect to. Raises Refused unless every one of them is public."""
        ours = allowed_address(host, self.allow)
        if ours is not None:
            return [_resolved(host, ours.host, ours.port)]
        addresses = await self._lookup(host, port)
        if not addresses or not all(is_public(address) for address in addresses):
            raise Refused("address not allowed" if addresses else "there is no such host")
        return [_resolved(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Nothing to close."""


def _resolved(name: str, address: str, port: int) -> ResolveResult:
    is_v6 = ":" in address
    return ResolveResult(
        hostname=name,
        host=address,
        port=port,
        family=socket.AF_INET6 if is_v6 else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )


def _is_odd_number(host: str) -> bool:
    """Whether a host is a spelling that some resolver reads as an IPv4 address: its last label is a number.

    Only the plain dotted form is taken, see https://url.spec.whatwg.org/#ends-in-a-number-checker.
    """
    last = host.rstrip(".").rpartition(".")[2]
    return not _is_ip(host) and ":" not in host and _NUMBER.fullmatch(last) is not None


def _is_ip(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
