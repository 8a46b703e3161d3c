"""A language model that already reads, given eyes: GGUF of a Llama -> Qwen2.5-VL -> a Hugging Face folder.

The language stack of Qwen2.5-VL is a Llama with biases on queries, keys and values. With these at zero the Llama's
weights fit as they are, and on text the policy is the Llama it came from. (Qwen3-VL normalises queries and keys, for
which a Llama has no weights.) The vision tower is new, from a seed, in the picture geometry that the rest of
`gen_searcher` knows: patches of 16 px, merged two by two. It has seen nothing: training has to teach it.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen_searcher.agent.render import SPECIAL_TOKENS
from gen_searcher.engines.gguf_file import READER, Floats, GgufFile
from gen_searcher.engines.small_policy import CHAT_TEMPLATE, MERGE, PATCH_PX, write_processor_files
from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision
from gen_searcher.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from gen_searcher.config.policy import PretrainedPolicyConfig

logger = logging.getLogger(__name__)

CONTROL_TOKEN = 3
"""How GGUF marks a token that no text holds."""
WINDOW_PX = 128
"""Side of the windows in which every other layer of the tower looks; the others look at the whole picture."""
INITIALIZER_RANGE = 0.02
"""Standard deviation of fresh weights."""
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF's names of a layer's weights, and those of Hugging Face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A Llama with one embedding for input and output, and the tokenizer that it reads with."""

    layers: int
    hidden: int
    mlp: int
    """Width of the feed-forward part."""
    heads: int
    key_value_heads: int
    positions: int
    """Longest context [tokens]."""
    rope_theta: float
    norm_eps: float
    weights: Mapping[str, Floats]
    """By Hugging Face's names within the language model, e.g. `layers.0.mlp.up_proj.weight`."""
    tokens: Sequence[str]
    """The vocabulary in the alphabet of byte-level BPE; a token's place is its id."""
    merges: Sequence[str]
    """Two tokens each, separated by a space; earlier ones first."""
    control_tokens: Sequence[str]
    """Those that no text holds."""

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads


def build_pretrained_policy(folder: Path, *, config: PretrainedPolicyConfig) -> None:
    """Write a policy that `AutoProcessor`, transformers and vLLM load.

    Args:
        folder: Where the files go; made when missing.
        config: Which package holds the weights, and the tower's sizes and seed. The same settings give the same bytes.

    Raises:
        UserError: The package is not installed, or its file is not the expected one.
    """
    give_eyes(read_language_model(weight_file(config)), folder, config=config)


def weight_file(config: PretrainedPolicyConfig) -> Path:
    """The file of weights in the installed package, which is not imported.

    Raises:
        UserError: The package or what reads its file is not installed, or the file is not the expected one.
    """
    found = importlib.util.find_spec(config.package)
    places = [Path(place) for place in (found.submodule_search_locations or [])] if found is not None else []
    missing = [] if places else [config.package]
    missing += [] if importlib.util.find_spec(READER) is not None else [READER]
    if missing:
        raise UserError(
            f"the weights come with the package {config.package}, and {READER} reads them; not installed: "
            f"{', '.join(missing)}; install with `{config.install}`, or with the extra gen_searcher[smol], which also "
            f"installs what {config.package} needs to run by itself and nothing here uses"
        )
    path = places[0] / config.file
    if not path.is_file():
        raise UserError(f"the package {config.package} holds no file {config.file}: {config.install}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != config.sha256:
        raise UserError(f"{path} has sha256 {digest}, expected is {config.sha256}: {config.install}")
    return path


def read_language_model(path: Path) -> LanguageModel:
    """Read a Llama from a GGUF file.

    Raises:
        UserError: It is something else, or incomplete.
    """
    file = GgufFile(path)
    kinds = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}
    for name, wanted in kinds.items():
        if (found := file.setting(name, str)) != wanted:
            raise UserError(f"{path}: {name} is {found!r}; only {wanted!r} can be given eyes")
    if "output.weight" in file.tensor_names:
        raise UserError(
            f"{path}: its output head is not its embedding; only a model that shares them can be given eyes"
        )
    heads = file.setting("llama.attention.head_count", int)
    key_value_heads = file.setting("llama.attention.head_count_kv", int)
    layers = file.setting("llama.block_count", int)
    tokens = file.setting("tokenizer.ggml.tokens", list)
    weights = {
        "embed_tokens.weight": file.tensor("token_embd.weight"),
        "norm.weight": file.tensor("output_norm.weight"),
    }
    for layer in range(layers):
        for theirs, ours in LAYER_NAMES.items():
            weights[f"layers.{layer}.{ours}.weight"] = file.tensor(f"blk.{layer}.{theirs}.weight")
        for part, count in (("q_proj", heads), ("k_proj", key_value_heads)):
            name = f"layers.{layer}.self_attn.{part}.weight"
            weights[name] = halves_apart(weights[name], heads=count)
    kinds_of_tokens = file.setting("tokenizer.ggml.token_type", list)
    return LanguageModel(
        layers=layers,
        hidden=file.setting("llama.embedding_length", int),
        mlp=file.setting("llama.feed_forward_length", int),
        heads=heads,
        key_value_heads=key_value_heads,
        positions=file.setting("llama.context_length", int),
        rope_theta=file.setting("llama.rope.freq_base", float),
        norm_eps=file.setting("llama.attention.layer_norm_rms_epsilon", float),
        weights=weights,
        tokens=tokens,
        merges=file.setting("tokenizer.ggml.merges", list),
        control_tokens=[t for t, kind in zip(tokens, kinds_of_tokens, strict=True) if kind == CONTROL_TOKEN],
    )


def halves_apart(weight: Floats, *, heads: int) -> Floats:
    """Undo GGUF's order of the rows of a projection to queries or keys, [heads * head_dim, in].

    GGUF keeps the two numbers that a rotary embedding turns together side by side, Hugging Face half a head apart.
    """
    rows, width = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, width)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, width)


def give_eyes(language: LanguageModel, folder: Path, *, config: PretrainedPolicyConfig) -> None:
    """Write the policy that reads text as `language` does and has a new vision tower.

    Args:
        language: What already reads.
        folder: Where the files go; made when missing.
        config: The tower's sizes and seed.
    """
    ensure_torchvision()
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = chat_tokenizer(language)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Qwen2_5_VLForConditionalGeneration(_model_config(language, tokenizer, config))
    _fill(model, language, tokenizer)
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    write_processor_files(folder, processor="Qwen2_5_VLProcessor", video="Qwen2VLVideoProcessor")
    model.save_pretrained(folder)
    parameters = sum(p.numel() for p in model.parameters())
    logger.info("gave eyes to a language model: %d parameters and %d tokens in %s", parameters, len(tokenizer), folder)


def chat_tokenizer(language: LanguageModel) -> PreTrainedTokenizerFast:
    """The model's own tokenizer, with what is missing of Qwen's special tokens behind its vocabulary.

    Tags are no tokens here: who reads can spell them. When they were new tokens, a policy mistook them for one another
    after 64 demonstrations (a call that began with `<answer>` and ended with `</think>`). That they began nearly alike
    may be why; nobody has shown it.
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = _bare_tokenizer(language)
    tokenizer.add_special_tokens(list(language.control_tokens))
    tokenizer.add_special_tokens([token for token in SPECIAL_TOKENS if token not in language.control_tokens])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=language.positions,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _bare_tokenizer(language: LanguageModel) -> Tokenizer:
    """Byte-level BPE that never joins digits, as SmolLM2 was trained with; knows no special token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    merges = [(left, right) for left, right in (merge.split(" ") for merge in language.merges)]
    vocabulary = {token: number for number, token in enumerate(language.tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _model_config(
    language: LanguageModel, tokenizer: PreTrainedTokenizerFast, config: PretrainedPolicyConfig
) -> Qwen2_5_VLConfig:
    from transformers import Qwen2_5_VLConfig

    ids = {token: int(tokenizer.get_vocab()[token]) for token in SPECIAL_TOKENS}
    half = language.head_dim // 2
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": language.hidden,
        "intermediate_size": language.mlp,
        "num_hidden_layers": language.layers,
        "num_attention_heads": language.heads,
        "num_key_value_heads": language.key_value_heads,
        "max_position_embeddings": language.positions,
        "rms_norm_eps": language.norm_eps,
        "initializer_range": INITIALIZER_RANGE,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": language.rope_theta,
            # time, row, column: the shares of Qwen2.5-VL, whose head is 128 wide
            "mrope_section": [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8],
        },
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision = {
        "depth": config.vision_layers,
        "hidden_size": config.vision_hidden,
        "intermediate_size": config.vision_hidden * 2,
        "num_heads": config.vision_heads,
        "patch_size": PATCH_PX,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "window_size": WINDOW_PX,
        "fullatt_block_indexes": list(range(1, config.vision_layers, 2)),
        "out_hidden_size": language.hidden,
        "initializer_range": INITIALIZER_RANGE,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def _fill(
    model: Qwen2_5_VLForConditionalGeneration, language: LanguageModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Put the language model's weights in place; biases of queries, keys and values become zero."""
    import torch

    own: Mapping[str, Tensor] = model.model.language_model.state_dict()
    weights = {name: torch.from_numpy(weight) for name, weight in language.weights.items()}
    weights["embed_tokens.weight"] = _longer_embedding(weights["embed_tokens.weight"], language, tokenizer)
    biases = {name for name in own if name.endswith(("q_proj.bias", "k_proj.bias", "v_proj.bias"))}
    weights |= {name: torch.zeros_like(own[name]) for name in biases}
    model.model.language_model.load_state_dict(weights)
    model.tie_weights()


def _longer_embedding(embedding: Tensor, language: LanguageModel, tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """A new token starts as the mean of the tokens that its letters used to be: near its neighbours, unlike any."""
    import torch

    plain = _bare_tokenizer(language)
    added = tokenizer.convert_ids_to_tokens(list(range(len(language.tokens), len(tokenizer))))
    rows = [embedding[plain.encode(token).ids].mean(0) for token in added]
    return torch.stack([*embedding, *rows])
