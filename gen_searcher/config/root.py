"""The whole configuration of a run: one model that every command reads its part of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from gen_searcher.config.agent import AgentConfig, SearchConfig
from gen_searcher.config.base import Config
from gen_searcher.config.bench import BenchConfig
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.data import DataConfig
from gen_searcher.config.doctor import DoctorConfig
from gen_searcher.config.export import ExportConfig
from gen_searcher.config.generate import GenerateConfig
from gen_searcher.config.grpo import GrpoConfig
from gen_searcher.config.ladder import LadderConfig
from gen_searcher.config.limits import LimitsConfig
from gen_searcher.config.log import LogConfig
from gen_searcher.config.painter import PainterConfig
from gen_searcher.config.plan import PlanConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.policy import PolicyConfig
from gen_searcher.config.replay import ReplayConfig
from gen_searcher.config.report import ReportConfig
from gen_searcher.config.rewards import JudgeCheckConfig, RewardConfig
from gen_searcher.config.serve import ServeConfig
from gen_searcher.config.sft import SftConfig
from gen_searcher.config.tasks import TasksConfig
from gen_searcher.config.trace import TraceConfig


class RunConfig(Config):
    """What one run directory is made from. Commands share it, so `sft`, `grpo`, `bench` and `generate` cannot disagree."""

    run_dir: Path
    """Where everything of the run lands; an absolute, shared path on a cluster."""
    seed: int = 0
    """Every random choice of the run comes from it."""
    policy: PolicyConfig = PolicyConfig()
    """The model that is trained, and how it is served."""
    agent: AgentConfig = AgentConfig()
    """Budgets, prompt and tools of the search agent."""
    search: SearchConfig
    """Where pages and pictures are found."""
    generator: Plug
    """The frozen image model: a class with `draw(prompt, references, *, seed)`."""
    judges: Mapping[str, Plug]
    """Who scores the attempts, by the name that the reward blends by (`image`, `text`)."""
    reward: RewardConfig = RewardConfig()
    """How the judges' scores become one number."""
    judge_check: JudgeCheckConfig = JudgeCheckConfig()
    """What `judge check` and `judge calibrate` do."""
    tasks: TasksConfig = TasksConfig()
    """Training and held-out tasks."""
    data: DataConfig = DataConfig()
    """The data pipeline."""
    limits: LimitsConfig = LimitsConfig()
    """How often and for how much money the outside is asked."""
    cassette: CassetteConfig = CassetteConfig()
    """Whether answers from outside are recorded or replayed."""
    cluster: ClusterConfig = ClusterConfig()
    """Where things run."""
    sft: SftConfig = SftConfig()
    """Supervised fine-tuning."""
    grpo: GrpoConfig = GrpoConfig()
    """Reinforcement learning."""
    bench: BenchConfig = BenchConfig()
    """The benchmark."""
    ladder: LadderConfig = LadderConfig()
    """The paper's comparisons over several runs."""
    generate: GenerateConfig = GenerateConfig()
    """Inference."""
    export: ExportConfig = ExportConfig()
    """A checkpoint as a Hugging Face folder."""
    replay: ReplayConfig = ReplayConfig()
    """One step once more."""
    report: ReportConfig = ReportConfig()
    """The page of a run."""
    doctor: DoctorConfig = DoctorConfig()
    """What `doctor` asks."""
    painter: PainterConfig = PainterConfig()
    """Training of the embedded generator."""
    plan: PlanConfig = PlanConfig()
    """What `plan` assumes."""
    serve: ServeConfig = ServeConfig()
    """Where servers listen."""
    log: LogConfig = LogConfig()
    """How it is written what happens."""
    trackers: Mapping[str, Plug] = Field(default_factory=dict)
    """Where the numbers of `sft` and `grpo` go beside `metrics.jsonl`, by any name."""
    trace: TraceConfig = TraceConfig()
    """OpenTelemetry traces of the attempts."""
