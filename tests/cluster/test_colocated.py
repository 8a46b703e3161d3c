"""Learner ranks and engines on the same GPUs: what Ray makes of their shares. The GPUs are only counted, nothing uses them."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import cast

import pytest
import ray
from ray.actor import ActorHandle

from gen_searcher.cluster.colocated import SharedDevices
from gen_searcher.cluster.placement import check_room
from gen_searcher.config import load
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.errors import UserError

GPUS = 3


@pytest.fixture(scope="module", autouse=True)
def machine() -> Iterator[None]:
    ray.init(address="local", num_cpus=8, num_gpus=GPUS, include_dashboard=False, object_store_memory=100 << 20)
    yield
    ray.shutdown()


def colocated(*settings: str) -> ClusterConfig:
    few = ("cluster.roles.learner.cpus=0.1", "cluster.roles.rollout.cpus=0.1", "cluster.roles.learner.memory_gib=0")
    return load.load(["cluster=colocated", "cluster.learner_ranks=2", *few, *settings]).cluster


class Where:
    def gpus(self) -> list[int]:
        return [int(number) for number in ray.get_gpu_ids()]


def started(options: Mapping[str, object]) -> ActorHandle:
    return cast("ActorHandle", ray.remote(Where).options(**options).remote())


def gpus_of(actors: list[ActorHandle]) -> list[int]:
    found = cast("list[list[int]]", ray.get([actor.gpus.remote() for actor in actors], timeout=120))
    return [number for (number,) in found]


def test_each_rank_has_a_gpu_of_its_own_and_one_engine_beside_it_wherever_engines_come_first() -> None:
    shared = SharedDevices.reserve(colocated())
    assert shared is not None
    engines = [started(shared.rollout(number)) for number in range(2)]
    ranks = [started(shared.learner(rank)) for rank in range(2)]
    on_engines, on_ranks = gpus_of(engines), gpus_of(ranks)
    assert len(set(on_ranks)) == 2
    assert on_engines == on_ranks

    ray.kill(engines[1])
    (third,) = {0, 1, 2} - set(on_ranks)
    wait_for_place(shared)
    again = started(shared.rollout(2))
    assert gpus_of([again]) == [on_ranks[1]]
    last = started(shared.rollout(3))
    assert gpus_of([last]) == [third]
    for actor in (engines[0], again, last, *ranks):
        ray.kill(actor)
    ray.util.remove_placement_group(shared.group)


def test_an_engine_too_many_takes_no_rank_s_place_while_the_ranks_are_not_there() -> None:
    shared = SharedDevices.reserve(colocated())
    assert shared is not None
    ray.get(shared.group.ready(), timeout=60)
    first = started(shared.rollout(0))
    assert gpus_of([first])
    assert shared.rollout(2)["scheduling_strategy"] == "SPREAD"
    ranks = [started(shared.learner(rank)) for rank in range(2)]
    assert len(set(gpus_of(ranks))) == 2
    for actor in (first, *ranks):
        ray.kill(actor)
    ray.util.remove_placement_group(shared.group)


def wait_for_place(shared: SharedDevices) -> None:
    """Until Ray has heard that an actor is gone."""
    deadline = time.monotonic() + 60.0
    while shared.rollout(2)["scheduling_strategy"] == "SPREAD":
        assert time.monotonic() < deadline


def test_roles_with_gpus_of_their_own_share_nothing() -> None:
    assert SharedDevices.reserve(load.load(["cluster=one_node"]).cluster) is None
    assert SharedDevices.reserve(ClusterConfig()) is None


def test_more_ranks_than_gpus_are_refused_though_their_shares_would_add_up() -> None:
    cluster = colocated("cluster.learner_ranks=4", "cluster.nodes_timeout_s=0")
    with pytest.raises(UserError, match="4 GPUs needed, 3 GPUs found") as refused:
        check_room(cluster, command="sft")
    assert "learner: 4 x 0.55 GPUs" in str(refused.value)
    assert refused.value.exit_code == 3
