"""One real local Ray for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gen_searcher.cluster.session import cluster_session
from gen_searcher.config.cluster import ClusterConfig


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with cluster_session(ClusterConfig(cpus=2, object_store_mib=100), run_id="tests", command="grpo"):
        yield
