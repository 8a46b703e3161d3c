"""Nodes that are about to go: a spot node that got its notice, one that an autoscaler or a person takes away."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

import logging

from ray._private.state import state
from ray.exceptions import RayError

log = logging.getLogger(__name__)


def draining_nodes() -> frozenset[str]:
    """Their ids [hex]; none when the cluster does not answer. Blocks for a moment.

    Ray has no public call for this (2.60); Ray Data and Ray Train ask the same object. A node of a cluster without an
    autoscaler is drained when its `ray start --block` gets SIGTERM, or by the hidden command `ray drain-node`.
    """
    try:
        return frozenset(state.get_draining_nodes())
    except RayError as error:
        log.warning("cannot ask for draining nodes: %s", error)
        return frozenset()
