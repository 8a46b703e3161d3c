"""Mistakes about a cluster, planted before a real head: each is found within a minute, with its cure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gen_searcher.commands import doctor
from gen_searcher.config import load
from tests.e2e.ray_head import ray_head
from tests.faults.nodes import Nodes, ray_nodes

pytestmark = pytest.mark.slow

LIMIT_S = 60.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with ray_nodes() as nodes:
        nodes.head(cpus=2, labels={"pool": "core"})
        yield nodes


@pytest.fixture
def joins(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, nodes.environment[name])


def problems(capsys: pytest.CaptureFixture[str], run_dir: Path, *words: str) -> str:
    """What doctor finds wrong, and that it does so in time; all that it says where nothing is."""
    begun = time.monotonic()
    code = doctor.run(load.load(["experiment=laptop", "cluster=auto", f"run_dir='{run_dir}'", *words]))
    assert time.monotonic() - begun < LIMIT_S
    said = capsys.readouterr().out
    if code == 0:
        return said
    assert code == 3
    return said.partition("configuration: cannot start\n")[2]


@pytest.mark.usefixtures("joins")
def test_a_sound_cluster_is_shown_with_what_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = problems(capsys, tmp_path, "cluster.roles.tool.labels={pool: core}")
    assert "found            2 CPUs, 0 GPUs, " in said
    assert " GiB of memory on 1 nodes of the cluster" in said
    assert "configuration: ready to start" in said


@pytest.mark.usefixtures("joins")
@pytest.mark.parametrize(
    ("words", "found", "cure"),
    [
        (
            ["cluster.roles.rollout.gpus=1", "cluster.rollout_workers=3"],
            "the cluster is too small: 3 GPUs needed, 0 GPUs found",
            "ask for fewer (cluster.rollout_workers, ",
        ),
        (
            ["cluster.roles.tool.labels={pool: tools}"],
            "tool: pool=tools",
            "label the nodes (`ray start --labels`",
        ),
        (
            ["cluster.roles.driver={cpus: 3}"],
            "the cluster is too small: 3.05 CPUs needed, 2 CPUs found",
            "add nodes",
        ),
    ],
    ids=["too few GPUs", "a label that no node has", "no room for the driver"],
)
def test_a_cluster_without_room_is_refused_with_the_cure(
    words: list[str], found: str, cure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = problems(capsys, tmp_path, *words)
    assert cure in said.partition(found)[2], said


@pytest.mark.usefixtures("joins")
def test_a_wrong_token_is_called_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 32)
    said = problems(capsys, tmp_path)
    assert "refuses the token of this process; put the cluster's token into RAY_AUTH_TOKEN" in said
    assert "`ray get-auth-token` on the head prints it" in said


def test_a_submitted_command_with_a_share_of_its_own_starts_and_counts_it(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with ray_head(tmp_path_factory.mktemp("ray")) as head:
        done = head.submit_by_script(
            "doctor",
            "experiment=laptop",
            f"run_dir={tmp_path}/run",
            "cluster.roles.driver={cpus: 1, memory_gib: 1, labels: {market-type: '!spot'}}",
            timeout_s=240,
        )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "driver       1 x 1 CPUs, 0 GPUs, 1 GiB, a node with market-type=!spot" in said
    assert "together         1.05 CPUs, 0 GPUs, 1 GiB kept for them" in said
    assert "configuration: ready to start" in said
