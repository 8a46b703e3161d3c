"""A small Qwen3-VL from a seed: corpus -> tokenizer, settings -> fresh weights -> a Hugging Face folder.

It is the real architecture (vision tower, deepstack, interleaved multimodal rotary embedding), only narrow. Its
tokenizer has Qwen's special tokens but splits text so that copying is easy: a run of letters, one digit, or a run
of anything else. A word is then the same tokens after a space, a quote or a slash, and a model of this size can
carry a name from an observation into its answer without learning two spellings of every name.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gen_searcher.agent.render import SPECIAL_TOKENS, TAG_TOKENS
from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3VLConfig

    from gen_searcher.config.policy import SmallPolicyConfig

logger = logging.getLogger(__name__)

WORD_SPLIT = r"\p{L}+|\p{N}|[^\p{L}\p{N}]+"
PATCH_PX = 16
MERGE = 2
TOKEN_PX = PATCH_PX * MERGE
MAX_SIDE_PX = 1024
MAX_POSITIONS = 32_768
POSITION_GRID = 8
"""The learned positions of a picture are a grid of this side, interpolated to the picture's own."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
  {%- set role = 'user' if message.role == 'tool' else message.role -%}
  {{- '<|im_start|>' + role + '\\n' -}}
  {%- if message.role == 'tool' -%}{{- '<tool_response>\\n' -}}{%- endif -%}
  {%- if message.content is string -%}
    {{- message.content -}}
  {%- else -%}
    {%- for part in message.content -%}
      {%- if part.type == 'image' -%}
        {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
      {%- else -%}
        {{- part.text -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if message.role == 'tool' -%}{{- '\\n</tool_response>' -}}{%- endif -%}
  {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


def build_small_policy(folder: Path, *, config: SmallPolicyConfig, corpus: Iterable[str]) -> None:
    """Write a fresh policy that `AutoProcessor`, transformers and vLLM load.

    Args:
        folder: Where the files go; made when missing.
        config: Sizes and seed. The same sizes, seed and corpus give the same bytes.
        corpus: Texts in the language of the conversations; the tokenizer learns its merges from them.
    """
    ensure_torchvision()
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    from gen_searcher.engines.induction import plant_copying

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(corpus, vocab=config.vocab)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Qwen3VLForConditionalGeneration(model_config(config, tokenizer))
    if config.can_copy:
        plant_copying(model, seed=config.seed)
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    model.save_pretrained(folder)
    write_processor_files(folder, processor="Qwen3VLProcessor", video="Qwen3VLVideoProcessor")
    parameters = sum(p.numel() for p in model.parameters())
    logger.info("built a policy of %d parameters and %d tokens in %s", parameters, len(tokenizer), folder)


def train_tokenizer(corpus: Iterable[str], *, vocab: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over `WORD_SPLIT`, with Qwen's special tokens at the end of the vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(SPECIAL_TOKENS) - len(TAG_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.add_tokens(list(TAG_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def model_config(config: SmallPolicyConfig, tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    """Translate our sizes into transformers' configuration."""
    from transformers import Qwen3VLConfig

    ids = {token: int(tokenizer.get_vocab()[token]) for token in SPECIAL_TOKENS}
    half = config.head_dim // 2
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.hidden,
        "intermediate_size": config.hidden * config.mlp_ratio,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": MAX_POSITIONS,
        "initializer_range": config.initializer_range,
        "tie_word_embeddings": config.tied_embeddings,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": config.rope_theta,
            "mrope_section": [half - 2 * (half // 3), half // 3, half // 3],
            "mrope_interleaved": True,
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
        "out_hidden_size": config.hidden,
        "num_position_embeddings": POSITION_GRID**2,
        "deepstack_visual_indexes": list(config.vision_deepstack),
        "initializer_range": config.initializer_range,
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=config.tied_embeddings,
    )


def write_processor_files(folder: Path, *, processor: str, video: str) -> None:
    """Say how pictures become patches, for the processor and the video processor of these names."""
    shared: dict[str, object] = {
        "size": {"shortest_edge": TOKEN_PX**2, "longest_edge": MAX_SIDE_PX**2},
        "patch_size": PATCH_PX,
        "temporal_patch_size": 2,
        "merge_size": MERGE,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": processor,
    }
    image = {"image_processor_type": "Qwen2VLImageProcessor", **shared}
    videos = {"video_processor_type": video, **shared}
    for name, content in (("preprocessor_config.json", image), ("video_preprocessor_config.json", videos)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
