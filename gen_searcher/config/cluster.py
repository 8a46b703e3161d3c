"""Where things run, and how many of each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gen_searcher.config.base import Config
from gen_searcher.config.plug import Plug


class RoleConfig(Config):
    """What one actor of a role asks of Ray."""

    cpus: float = Field(default=0.01, ge=0.0)
    """CPUs that are kept for it. The default lets all roles share a laptop."""
    gpus: float = Field(default=0.0, ge=0.0)
    """GPUs that are kept for it; a fraction shares one device between actors. A learner rank takes a whole one, or more
    than half of one, so that an engine may share it and no other rank does; an engine as many as `policy.tensor_parallel`."""
    memory_gib: float = Field(default=0.0, ge=0.0)
    """Memory of the host that is kept for it [GiB]; 0 keeps none."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that its node must carry, e.g. `{market-type: on-demand}`; Ray's label selectors (`!spot`, `in(a, b)`)."""

    @property
    def memory_bytes(self) -> int:
        """As Ray counts it."""
        return int(self.memory_gib * 2**30)

    @property
    def is_nothing(self) -> bool:
        """Asks for no share of a node and for no node in particular."""
        return not (self.cpus or self.gpus or self.memory_gib or self.labels)


class RolesConfig(Config):
    """What the actors of each role ask for."""

    learner: RoleConfig = RoleConfig()
    """One training process. Above one rank they are packed together: they talk all the time."""
    rollout: RoleConfig = RoleConfig()
    """One policy engine with its agent. Spread over the nodes: one node's end takes few of them."""
    generator: RoleConfig = RoleConfig()
    """One replica of the image model."""
    reward: RoleConfig = RoleConfig()
    """One process of judges."""
    tool: RoleConfig = RoleConfig()
    """One process of tools; it reads what strangers wrote, so give it nodes of its own where you can."""
    driver: RoleConfig = RoleConfig(cpus=0.0)
    """The command itself, which `ray job submit` starts on a node of the cluster: `launch/ray_job.sh` passes this on as
    `--entrypoint-num-cpus` and the like. Nothing is kept for it unless something is asked for here."""


class ClusterConfig(Config):
    """The Ray cluster and the size of every pool."""

    address: Literal["local", "auto"] = "local"
    """`local` starts Ray on this machine; `auto` joins the running cluster (what `ray job submit` needs)."""
    cpus: int | None = Field(default=None, ge=1)
    """CPUs that a local Ray may hand out; None = what the machine has. Actors share them by fractions."""
    object_store_mib: int = Field(default=256, ge=80)
    """Size of a local Ray's object store in MiB. Values are small: pictures and weights travel by file."""
    rollout_workers: int = Field(default=1, ge=1)
    """vLLM replicas, each with its own agent."""
    rollout_concurrency: int = Field(default=16, ge=1)
    """Trajectories that one rollout worker works on at the same time."""
    generator_workers: int = Field(default=1, ge=1)
    """Replicas of the image model."""
    reward_workers: int = Field(default=1, ge=1)
    """Processes that hold the judges."""
    tool_workers: int = Field(default=1, ge=1)
    """Processes that search and read pages."""
    learner_ranks: int = Field(default=1, ge=1)
    """Data-parallel ranks."""
    roles: RolesConfig = RolesConfig()
    """What an actor of each role asks of Ray."""
    fault_plan: Plug | None = None
    """For tests of what a run survives: a listener that every process of the run tells which `gen_searcher.points` it
    passes, see `gen_searcher.testing.fault_plan`. None: nobody listens, and nothing can happen."""
    nodes_timeout_s: float = Field(default=0.0, ge=0.0)
    """Longest wait for the nodes that the roles need [s]: an autoscaler takes minutes. 0 refuses at once."""
    max_lost_frac: float = Field(default=0.3, ge=0.0, le=1.0)
    """Share of one step's attempts that may stay lost after all their tries; their groups train on the rest. More is an
    outage: the step waits (`outage_wait_s`). Losing every attempt is an outage whatever this says."""
    outage_wait_s: float = Field(default=1800.0, ge=0.0)
    """Longest wait for the world in one outage [s]. Meanwhile nothing new is started and nothing is trained, only lost
    attempts are tried again. After it the run saves everything and exits with code 75."""
    outage_retry_s: float = Field(default=5.0, gt=0.0)
    """Pause before lost attempts are tried again in an outage [s]; doubles each time, up to two minutes."""
    call_timeout_s: float = Field(default=600.0, gt=0.0)
    """Longest time for one try of an attempt [s]; a try that takes longer is lost."""
    restarts: int = Field(default=3, ge=0)
    """Deaths of one worker within `restart_window_s` after which it is restarted, or another one raised in its place. One
    more is not bad luck but a broken node or a bug: it rests until the window is over. When a role has no other worker
    left, the run ends with exit code 3."""
    restart_window_s: float = Field(default=3600.0, gt=0.0)
    """Over which deaths are counted [s]."""
    ready_timeout_s: float = Field(default=600.0, gt=0.0)
    """Longest time until a new or restarted worker serves, its model loaded [s], and `nodes_timeout_s` more. After it the
    run ends with exit code 3 where a tool, image or reward worker was to start with it, or where the role has no other
    worker; otherwise another one is raised. A rollout worker has `hang_s` twice, if that is longer."""
    learner_timeout_s: float = Field(default=3600.0, gt=0.0)
    """Longest time for one call of the learner (to load its policy, a step, a checkpoint) [s]; after it the run ends with
    exit code 75, to go on from the last checkpoint."""
    hang_s: float = Field(default=300.0, gt=0.0)
    """An image or reward worker that has work and finishes none of it for so long [s] is taken for hung: it is killed
    and restarted, and what it was asked is asked once more. Shorter than `call_timeout_s`, or attempts give up first.
    A rollout or tool worker may take longer as long as it answers that it is well; when it hangs, its tries are lost."""
