"""A look at a cluster from a process of its own: ClusterConfig -> what is there and what is lacking, within a deadline.

Ray tries for minutes to join what is no head, and for half a minute with a wrong token, and cannot be stopped from within.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydantic import BaseModel

from gen_searcher.cluster.placement import check_room, totals
from gen_searcher.cluster.session import cluster_session, reach
from gen_searcher.config.cluster import ClusterConfig, RoleConfig, RolesConfig
from gen_searcher.config.secrets import variable
from gen_searcher.errors import UserError

DEADLINE_S = 35.0
"""Longest for the whole look: a process starts, finds the head and joins it in 10 s where everything is well."""
HEAD_DEADLINE_S = 15.0
"""Longest wait for the head: nobody starts it beside a doctor, and the commonest mistake is an address where none is."""
POLL_S = 0.1
REFUSED = "InvalidAuthToken"
"""What Ray's client writes, again and again, when the head refuses its token."""
BARE = RolesConfig(**dict.fromkeys(RolesConfig.model_fields, RoleConfig(cpus=0.0)))
"""Roles that any cluster has room for: to join one and see what it has."""


class Seen(BaseModel):
    """What there is."""

    totals: dict[str, float] | None = None
    """`CPU`, `GPU`, `memory` [bytes] and `node`; None when the cluster could not be joined."""
    problem: str | None = None


def look(cluster: ClusterConfig, *, command: str, deadline_s: float = DEADLINE_S) -> Seen:
    """Join the cluster that RAY_ADDRESS names for a moment, and see whether it has room for what `command` raises."""
    asked = cluster.model_copy(update={"nodes_timeout_s": 0.0, "fault_plan": None})
    try:
        reach(HEAD_DEADLINE_S)
    except UserError as error:
        return Seen(problem=str(error))
    with tempfile.TemporaryDirectory() as folder:
        answer, said = Path(folder, "answer"), Path(folder, "said")
        with answer.open("wb") as out, said.open("wb") as err:
            child = subprocess.Popen(
                [sys.executable, "-m", "gen_searcher.cluster.look", asked.model_dump_json(), command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        problem = _waited_for(child, said, deadline_s)
        if problem is not None:
            return Seen(problem=problem)
        lines = answer.read_text().splitlines()
        if child.returncode != 0 or not lines:
            return Seen(
                problem=f"{_where()} cannot be joined: {_last(said)}; see whether the same Ray runs on both sides"
            )
        return Seen.model_validate_json(lines[-1])


def _waited_for(child: subprocess.Popen[bytes], said: Path, deadline_s: float) -> str | None:
    """Why the child was given up; None once it has ended by itself."""
    deadline = time.monotonic() + deadline_s
    try:
        while child.poll() is None:
            if REFUSED in said.read_text(errors="replace"):
                return (
                    f"{_where()} refuses the token of this process; put the cluster's token into RAY_AUTH_TOKEN, or into "
                    "~/.ray/auth_token (mode 600), and set RAY_AUTH_MODE=token; `ray get-auth-token` on the head prints it"
                )
            if time.monotonic() > deadline:
                return (
                    f"{_where()} did not let this process join within {deadline_s:g} s, though something listens there; set "
                    "RAY_ADDRESS to the head's own port (`ray start --head --port`, 6379 unless it was changed), not to the "
                    "one of its dashboard (8265) or of Ray clients (10001)"
                )
            time.sleep(POLL_S)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return None


def _where() -> str:
    return f"cluster.address=auto, but the Ray cluster at RAY_ADDRESS={variable('RAY_ADDRESS')}"


def _last(said: Path) -> str:
    lines = said.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def main(cluster: ClusterConfig, *, command: str) -> Seen:
    """The look itself, in the process that may be given up."""
    try:
        with cluster_session(cluster.model_copy(update={"roles": BARE}), run_id="doctor", command=command):
            there = totals()
            try:
                check_room(cluster, command=command)
            except UserError as error:
                return Seen(totals=there, problem=str(error))
            return Seen(totals=there)
    except UserError as error:
        return Seen(problem=str(error))


if __name__ == "__main__":
    seen = main(ClusterConfig.model_validate_json(sys.argv[1]), command=sys.argv[2])
    sys.stdout.write(seen.model_dump_json() + "\n")
