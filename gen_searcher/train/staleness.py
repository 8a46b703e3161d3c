"""Which groups a step may leave to the steps after it: versions of the groups in flight -> whether all can come in time.

A group of version v is trained at version v + k at the latest. Of those that a step at version V leaves behind, the ones
of version V - k + j and before are for the next j steps, which take j times as many as a step takes. What runs and what
has ended both count: one that ends early is left behind like one that runs, and needs a place in a later step as well.
"""

from __future__ import annotations

from collections.abc import Mapping


def leaves_none_too_old(
    ended: Mapping[int, int],
    running: Mapping[int, int],
    *,
    version: int,
    groups_per_step: int,
    max_staleness: int,
    spare_groups: int,
) -> bool:
    """Whether a step at `version` that takes the oldest of `ended` leaves the steps after it no more than they can take.

    `ended`, `running`: policy version -> groups that were started at it and that no step has taken; at least
    `groups_per_step` of them have ended. `spare_groups` of those that become too old with this step may be given up.
    True where waiting would change nothing: as many groups as the step takes have ended of those that there are too many
    of (kept by a run that allowed more staleness).

    It is asked whenever a group has ended, so it goes through the versions once, from the oldest.
    """
    oldest = version - max_staleness
    old_ended, old_running = _before(oldest, ended), _before(oldest, running)
    for steps in range(max_staleness + 1):
        old_ended += ended.get(oldest + steps, 0)
        old_running += running.get(oldest + steps, 0)
        if old_ended >= groups_per_step:
            return True
        if old_running > steps * groups_per_step + spare_groups:
            return False
    return True


def _before(version: int, groups: Mapping[int, int]) -> int:
    return sum(count for each, count in groups.items() if each < version)
