"""How many attempts are under way at once."""

from __future__ import annotations

from gen_searcher.train.room import Room, member_ended


def test_a_group_is_let_in_as_long_as_one_attempt_has_space() -> None:
    room = Room(attempts=5, group_size=4)
    first = room.enter()
    assert room.has_space
    second = room.enter()
    assert not room.has_space, "eight are under way"
    second.give_back(3)
    assert not room.has_space
    first.give_back(1)
    assert room.has_space


def test_who_waits_hears_of_space_once_it_is_there() -> None:
    heard: list[bool] = []
    room = Room(attempts=2, group_size=2)
    room.watch(lambda: heard.append(room.has_space))
    places = room.enter()
    places.context().run(member_ended)
    assert heard == [True]
    places.close()
    assert heard == [True, True]
    places.context().run(member_ended)
    places.close()
    assert heard == [True, True], "nothing is given back twice"


def test_a_member_outside_a_stream_gives_nothing_back() -> None:
    room = Room(attempts=1, group_size=1)
    room.enter()
    member_ended()
    assert not room.has_space
