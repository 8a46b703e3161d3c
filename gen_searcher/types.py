"""The nouns. Data moves down this page and never back up.

    Task -> Turn* -> Trajectory -> Attempt -> Group -> Sample -> Batch -> StepReport
                        |             ^
                        +-> Grounding -> ImageRef -> Judgement*

Every stage makes a new value and fills in no earlier one. Shapes: P prompt, C completion, T a sample's tokens.
Token ids are *unexpanded*: one placeholder stands for one picture. Only the learner expands it (`grpo/tensors.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gen_searcher.drawing import Drawing
from gen_searcher.errors import CUT_OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """A picture by its content. The bytes live in the `ImageStore`, never in a message."""

    sha256: str
    """Hex digest of the picture's size and raw RGB pixels."""
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thing that the picture must show, and where."""

    entity: str
    """Id of the entity in the world, e.g. `flag-pl`."""
    name: str
    """What people call it, e.g. `Flag of Poland`."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom of its place in the picture, as fractions of width and height."""
    accepted: tuple[str, ...] = ()
    """Ids of entities that look the same and are right as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the picture is judged on. The policy never reads them."""

    subjects: tuple[Subject, ...] = ()
    layout: str = ""
    """Name of the arrangement of the subjects, e.g. `beside`. Empty outside the embedded world."""
    style: str = ""
    """Name of the look, e.g. `night`. Empty outside the embedded world."""
    caption: str | None = None
    """Text that the picture must carry; None when the task asks for no text."""
    explanation: str = ""
    """What a right picture shows, in words for a judge; empty when the target shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One request for a picture."""

    id: str
    prompt: str
    target: ImageRef | None
    """Ground-truth picture; None for a request nobody has drawn yet (inference)."""
    facts: Facts = Facts()
    meta: Mapping[str, str]
    """Category, difficulty, template and the like: keys are data."""


class ToolKind(StrEnum):
    """How a tool call went. `EMPTY` and `FAILED` are different things and the policy reads which."""

    OK = "ok"
    EMPTY = "empty"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """What the policy asked for."""

    name: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """A picture that a tool brought back."""

    img_id: str
    """Id within one trajectory, `IMG_001`, `IMG_002`, ...; the same picture keeps its id."""
    title: str
    url: str
    page_url: str
    image: ImageRef
    """The picture as the generator gets it."""
    view: ImageRef
    """The picture as the policy sees it: both sides are multiples of 32 px, so that no image processor resizes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What came back."""

    text: str
    images: tuple[FoundImage, ...] = ()
    kind: ToolKind = ToolKind.OK
    reason: str = ""
    """Why the call failed; empty unless `kind` is `FAILED`."""
    sources: tuple[str, ...] = ()
    """URLs that the text was read from."""
    latency_s: float = 0.0
    cost_usd: float = 0.0
    cache: str = "miss"
    """`hit`, `miss` or `replay`."""
    canaries: tuple[str, ...] = ()
    """Signs of an injection in what was brought, e.g. `override`; see `tools/canaries.py`."""
    retries: int = 0
    """Requests of this call that were made again because one had failed; 0 in records of earlier versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One completion of the policy, and what it led to."""

    prompt_ids: tuple[int, ...]
    """[P] tokens that were *added* to the context before this completion: the system and task text in the first turn,
    the observation in a later one. The context of turn k is all earlier turns' `prompt_ids` and `completion_ids`."""
    completion_ids: tuple[int, ...]
    """[C] tokens exactly as sampled, the end-of-turn token included when the policy wrote it."""
    logprobs: tuple[float, ...]
    """[C] natural log-probability of each sampled token under the policy and temperature that sampled it: of the whole
    softmax, the tokens that may never be sampled left out, before top-p, top-k and min-p."""
    versions: tuple[int, ...]
    """[C] policy version that sampled each token."""
    log_kept: tuple[float, ...] = ()
    """[C] natural log of the probability that top-p, top-k and min-p left to sample from; 0.0 where they cut nothing.
    The token was drawn with log-probability `logprobs - log_kept`. Empty when nothing was cut anywhere."""
    images: tuple[ImageRef, ...] = ()
    """Views shown in `prompt_ids`, in the order of their placeholders."""
    call: ToolCall | None = None
    """None when the completion holds no valid call (an answer, or malformed text)."""
    result: ToolResult | None = None
    """None when no tool ran. Beside an answer (no call): the picture drawn from it, when the policy was shown that."""
    latency_s: float = field(default=0.0, compare=False)
    """How long the engine took for the completion, its queue included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference picture that the policy chose."""

    img_id: str
    note: str
    """The policy's own words on what the picture is for."""
    title: str
    url: str
    page_url: str
    image: ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """What the generator gets."""

    gen_prompt: str
    references: tuple[Reference, ...]
    """In the order in which `gen_prompt` names them."""
    sources: tuple[str, ...] = ()
    """Page and picture URLs behind it: provenance."""


class Outcome(StrEnum):
    """Why a trajectory ended. All of these are the policy's doing: each earns a reward and a gradient."""

    GROUNDED = "grounded"
    """A valid grounding was handed in."""
    MALFORMED = "malformed"
    """The final turn held no valid answer."""
    REPEATED = "repeated"
    """The policy wrote the same completion twice in a row."""
    OUT_OF_TURNS = "out_of_turns"
    """No answer within the turn budget."""
    OUT_OF_TOKENS = "out_of_tokens"
    """No answer within the context or completion budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The agent's whole work on one task."""

    task_id: str
    turns: tuple[Turn, ...]
    outcome: Outcome
    grounding: Grounding | None
    """Present exactly when `outcome` is `GROUNDED`."""

    def __post_init__(self) -> None:
        if (self.grounding is not None) != (self.outcome is Outcome.GROUNDED):
            raise ValueError(f"a {self.outcome} trajectory with grounding={self.grounding!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one judge says of one attempt."""

    judge: str
    score: float
    """0 to 1."""
    parts: Mapping[str, float | None]
    """Dimension to 0..1; None means not applicable (e.g. `text_accuracy` of a task without text)."""
    rationale: str
    model: str
    prompt_sha256: str
    """Hash of the judge's prompt or, for a judge without one, of its version string."""
    latency_s: float
    cost_usd: float = 0.0
    variance: float | None = None
    """Of the score over several pictures of one grounding, unbiased; None when one was judged."""
    reply: str = ""
    """What a model wrote, cut, of several pictures about the first; empty without a model and in earlier records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """One number, and what it was made of."""

    total: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A scored try at a task."""

    trajectory: Trajectory
    seed: int
    image: ImageRef | None
    judgements: tuple[Judgement, ...]
    reward: Reward
    drawing: Drawing | None = None
    """How the picture came about, or why there is none; None without a grounding."""
    shadow: tuple[Judgement, ...] = ()
    """What judges said whose scores are recorded only; no reward or advantage is made from them."""
    more_images: tuple[ImageRef, ...] = ()
    """Further pictures of the same grounding; the image judge's score is the mean over `image` and these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A try that the world spoiled: no reward, because an outage is not a mistake."""

    task_id: str
    seed: int
    stage: str
    error: str
    passes: bool = True
    """Whether waiting may mend it; False where the request itself can never be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Several attempts at one task."""

    task: Task
    attempts: tuple[Attempt, ...]
    lost: tuple[Lost, ...] = ()
    version: int = 0
    """Policy version that was current when the group was started: what staleness is counted from."""
    visit: int = 0
    """Place of the group in the run's data order, from 0; outside training always 0."""

    @property
    def rewards(self) -> tuple[float, ...]:
        """[G] total rewards, in the order of `attempts`."""
        return tuple(attempt.reward.total for attempt in self.attempts)

    @property
    def given_up(self) -> tuple[int, ...]:
        """Seeds of the members that stayed lost: no later try made up for them. Not those that we cut off in the end."""
        scored = {attempt.seed for attempt in self.attempts}
        last = {lost.seed: lost for lost in self.lost if lost.seed not in scored}
        return tuple(seed for seed, lost in last.items() if lost.stage != CUT_OFF)

    @property
    def hopeless(self) -> tuple[int, ...]:
        """Those of `given_up` that no waiting mends."""
        last = {lost.seed: lost for lost in self.lost}
        return tuple(seed for seed in self.given_up if not last[seed].passes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sequence to learn from: parallel arrays over unexpanded tokens."""

    token_ids: tuple[int, ...]
    """[T]"""
    loss_mask: tuple[bool, ...]
    """[T] True for each token that the policy sampled, and only for those."""
    logprobs: tuple[float, ...]
    """[T] log-probability before top-p, top-k and min-p, see `Turn`; 0.0 where `loss_mask` is False."""
    images: tuple[ImageRef, ...]
    """In the order of their placeholders."""
    advantage: float
    versions: tuple[int, ...] = ()
    """[T] sampling version; -1 where `loss_mask` is False. Empty for demonstrations."""
    log_kept: tuple[float, ...] = ()
    """[T] log of the mass that was sampled from, see `Turn`; 0.0 where `loss_mask` is False. Empty for demonstrations."""

    def __post_init__(self) -> None:
        arrays = (self.token_ids, self.loss_mask, self.logprobs, *filter(None, (self.versions, self.log_kept)))
        if len(lengths := {len(array) for array in arrays}) != 1:
            raise ValueError(f"the arrays of a sample differ in length: {sorted(lengths)}")

    @property
    def trained_tokens(self) -> int:
        """How many tokens carry a gradient."""
        return sum(self.loss_mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one optimizer step learns from."""

    rows: tuple[tuple[Sample, ...], ...]
    """Samples packed into rows; the samples of a row share one forward pass and never see each other."""
    trained_tokens: int
    """Sampled tokens over every row and rank."""
    samples: int
    """Samples over every row and rank: the denominator of sequence-mean losses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What the learner says after a step."""

    loss: float
    grad_norm: float
    """Before clipping."""
    metrics: Mapping[str, float]
    arithmetic: str = ""
    """What computed it: where this is equal, equal batches and weights give equal bits. Empty when nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The whole context of one completion."""

    token_ids: tuple[int, ...]
    images: tuple[ImageRef, ...]
    """In the order of their placeholders; as many as there are placeholders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample one completion."""

    max_tokens: int
    seed: int
    temperature: float = 1.0
    """0 always takes the likeliest token; its log-probabilities are those of temperature 1."""
    top_p: float = 1.0
    """Sample from the likeliest tokens that together have this probability."""
    top_k: int | None = None
    """Sample from this many of the likeliest tokens; None from all."""
    min_p: float = 0.0
    """Sample from the tokens with at least this share of the likeliest one's probability."""


class Finish(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the policy wrote."""

    token_ids: tuple[int, ...]
    """[C]"""
    logprobs: tuple[float, ...]
    """[C] before top-p, top-k and min-p, see `Turn`."""
    versions: tuple[int, ...]
    """[C]"""
    finish: Finish
    log_kept: tuple[float, ...] = ()
    """[C] log of the mass that was sampled from, see `Turn`; empty when nothing was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSource:
    """Where a policy engine finds new weights."""

    path: str
    """A safetensors file that every engine of the run can read."""
