"""Sites that must not be found: the evaluation's own answers, for one."""

from __future__ import annotations

from collections.abc import Sequence

from yarl import URL


class Blocklist:
    """Hosts by suffix."""

    def __init__(self, hosts: Sequence[str]) -> None:
        """`hosts`, e.g. `example.org`, stand for themselves and every name below them."""
        self._hosts = tuple(host.lower().strip(".") for host in hosts)

    def holds(self, *urls: str) -> bool:
        """Whether one of the addresses lies on a blocked site; an address that cannot be read lies nowhere."""
        return any(self._is_blocked(url) for url in urls) if self._hosts else False

    def _is_blocked(self, url: str) -> bool:
        try:
            host = (URL(url).host or "").lower().rstrip(".")
        except (ValueError, IndexError):
            return False
        return any(host == blocked or host.endswith(f".{blocked}") for blocked in self._hosts)
