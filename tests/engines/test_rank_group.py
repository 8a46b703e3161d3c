from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from gen_searcher.engines.rank_group import interface_of

JOIN = (
    "import os, sys\nfrom gen_searcher.engines.rank_group import Place, join_group\n"
    "join_group(Place(address=sys.argv[1]), threads=1)\nprint(os.environ.get('GLOO_SOCKET_IFNAME', 'none'))\n"
)


def joined(address: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "GLOO_SOCKET_IFNAME"}  # noqa: TID251 - for a child
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", JOIN, address],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout.strip()


def test_an_interface_is_found_by_each_of_its_addresses() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.9") is None, "an address of nobody here"
    for name, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.family.name == "AF_INET":
                assert interface_of(one.address) == name


@pytest.mark.parametrize(
    ("address", "environment", "interface"),
    [
        ("127.0.0.1", {}, "lo"),
        ("203.0.113.9", {}, "none"),
        ("203.0.113.9", {"GLOO_SOCKET_IFNAME": "lo"}, "lo"),
    ],
    ids=["loopback", "not ours", "the machine's owner knows better"],
)
def test_ranks_listen_where_the_others_reach_them(address: str, environment: dict[str, str], interface: str) -> None:
    assert joined(address, **environment) == interface
