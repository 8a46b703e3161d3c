"""The Slurm script with stand-ins for Slurm's commands, Ray and the program: what it starts where, and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gen_searcher.config import load
from gen_searcher.config.needs import needs

SCRIPT = Path(__file__).parents[2] / "launch" / "slurm.sbatch"
STAND_INS = {
    "scontrol": """\
echo "scontrol $*" >>"$TOLD"
[ "$1" != show ] || seq -f node%g "$SLURM_JOB_NUM_NODES"
""",
    # A step's own options come first, each in one word; what follows is the command that it runs.
    "srun": """\
echo "srun cpus=${SRUN_CPUS_PER_TASK:-} $*" >>"$TOLD"
while case $1 in --*) true ;; *) false ;; esac; do shift; done
exec "$@"
""",
    "hostname": "echo 10.0.0.1\n",
    "ray": 'echo up >"$UP"; exec tail -f /dev/null\n',
    # The real one waits for its nodes too.
    "gen-searcher": """\
exec 3<>"$UP"
read -r _ <&3
((SLURM_JOB_NUM_NODES == 1)) || read -r _ <&3
exit "$CODE"
""",
}
OPTIONS = re.compile(r"--[\w-]+(?:=\S+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of srun."""

    options: tuple[str, ...]
    """Of the step itself, the CPUs of its tasks first."""
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a run of the script did."""

    code: int
    steps: tuple[Step, ...]
    requeued: bool
    left: tuple[str, ...]
    """Files in the folder that the job was submitted from."""

    def node_labels(self) -> list[dict[str, str]]:
        """Of each kind of node that was started."""
        found = [
            re.search(r"--labels=(\S+)", step.command) for step in self.steps if step.command.startswith("ray start")
        ]
        return [dict(pair.split("=") for pair in match[1].split(",")) for match in found if match]

    def step(self, beginning: str) -> Step:
        """The one whose command begins so; steps of one moment are told in any order."""
        (found,) = [step for step in self.steps if step.command.startswith(beginning)]
        return found


def example() -> list[str]:
    """The words that the script's own head gives it."""
    (words,) = re.findall(r"^#\s+sbatch (--nodes=\d+) launch/slurm\.sbatch (.*)$", SCRIPT.read_text(), re.MULTILINE)
    return [words[0], *words[1].split()]


def run(folder: Path, *words: str, nodes: int, code: int = 0) -> Job:
    stand_ins, told, home = folder / "bin", folder / "told", folder / "home"
    stand_ins.mkdir()
    home.mkdir()
    told.touch()
    os.mkfifo(folder / "up")
    for name, text in STAND_INS.items():
        (stand_ins / name).write_text(f"#!/bin/bash\n{text}")
        (stand_ins / name).chmod(0o755)
    environment = {
        "PATH": f"{stand_ins}:/usr/bin:/bin",
        "TOLD": str(told),
        "CODE": str(code),
        "UP": str(folder / "up"),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": f"node[1-{nodes}]",
        "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_NTASKS": str(nodes),
        "SLURM_CPUS_PER_TASK": "64",
        "SLURM_SUBMIT_DIR": str(home),
    }
    done = subprocess.run(
        ["bash", str(SCRIPT), *words],
        env=environment,
        stdout=subprocess.DEVNULL,  # a stand-in of Ray that outlived the script would hold a pipe open
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    lines = told.read_text().splitlines()
    steps = [line.removeprefix("srun ").split() for line in lines if line.startswith("srun ")]
    return Job(
        code=done.returncode,
        steps=tuple(parted(words) for words in steps),
        requeued="scontrol requeue 7" in lines,
        left=tuple(path.name for path in home.iterdir()),
    )


def parted(words: list[str]) -> Step:
    length = next(n for n, word in enumerate(words) if n and not OPTIONS.fullmatch(word))
    return Step(options=tuple(words[:length]), command=" ".join(words[length:]))


def test_every_role_of_the_example_finds_a_node_with_its_labels(tmp_path: Path) -> None:
    size, *words = example()
    nodes = run(tmp_path, *words, nodes=int(size.partition("=")[2])).node_labels()
    asked = [need for need in needs(load.load(words[1:]).cluster, command=words[0]) if need.asks.labels]
    assert [need.role for need in asked] == ["reward", "tool"]
    for need in asked:
        assert any(need.asks.labels.items() <= labels.items() for labels in nodes), need.role


def test_every_step_has_the_cpus_of_the_job_and_no_node_gets_two_of_ray(tmp_path: Path) -> None:
    job = run(tmp_path, *example()[1:], nodes=4)
    assert {step.options[0] for step in job.steps} == {"cpus=64"}
    head, others = job.step("ray start --head"), job.step("ray start --address=10.0.0.1:6379")
    assert head.options[1:] == ("--nodes=1", "--ntasks=1", "--nodelist=node1")
    assert others.options[1:] == ("--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--exclude=node1")
    assert job.step("gen-searcher grpo experiment=paper_8b cluster=many_nodes").options[1] == "--overlap"


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (2, False), (75, True)])
def test_only_an_interrupted_run_is_queued_again_and_no_token_is_left(
    tmp_path: Path, code: int, requeued: bool
) -> None:
    job = run(tmp_path, "grpo", "experiment=smoke", nodes=1, code=code)
    assert (job.code, job.requeued, job.left) == (code, requeued, ())
    assert {step.command.split()[0] for step in job.steps} == {"hostname", "ray", "gen-searcher"}
