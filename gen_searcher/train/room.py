"""How many attempts are under way at once: what the engines and their caches take, whatever the number of groups.

A group is let in when there is space for one attempt of it. Each of its members gives its place back when it ends, so a
group whose last member takes long keeps one place and not all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context


class Room:
    """Counts the attempts of the groups that were let in and have not ended."""

    def __init__(self, *, attempts: int | None, group_size: int) -> None:
        """`attempts`: under way at most, but for the siblings of the last one let in; None: any number."""
        self._attempts = attempts
        self._group_size = group_size
        self._under_way = 0
        self._watchers: list[Callable[[], None]] = []

    @property
    def has_space(self) -> bool:
        """Whether another group may begin."""
        return self._attempts is None or self._under_way < self._attempts

    def watch(self, on_space: Callable[[], None]) -> None:
        """Call `on_space` whenever an attempt ended and there is space; never without a bound."""
        self._watchers.append(on_space)

    def enter(self) -> Places:
        """Let a group in."""
        self._under_way += self._group_size
        return Places(self, self._group_size)

    def leave(self, attempts: int) -> None:
        """So many attempts have ended."""
        self._under_way -= attempts
        if self._attempts is not None and self.has_space:
            for on_space in self._watchers:
                on_space()


class Places:
    """What one group holds of the room."""

    def __init__(self, room: Room, attempts: int) -> None:
        """Made by `Room.enter`."""
        self._room = room
        self._held = attempts

    def context(self) -> Context:
        """Where `member_ended` gives back a place of this group."""
        context = copy_context()
        context.run(_PLACES.set, self)
        return context

    def give_back(self, attempts: int) -> None:
        """So many members have ended; more than were let in (tries of an outage) give nothing back."""
        given = min(attempts, self._held)
        self._held -= given
        if given:
            self._room.leave(given)

    def close(self) -> None:
        """The group has ended, and every member with it."""
        self.give_back(self._held)


_PLACES: ContextVar[Places | None] = ContextVar("places", default=None)


def member_ended() -> None:
    """Give back the place of one member of the group that this is called in; nothing outside a stream."""
    places = _PLACES.get()
    if places is not None:
        places.give_back(1)
