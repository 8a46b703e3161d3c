"""The parts of the embedded painter: a small but genuine Flux2Klein, every size in one place.

picture -> AutoencoderKLFlux2 (4x, then 2x2 patches) -> one token per 8x8 px
prompt  -> byte-level BPE -> two-layer Qwen3          -> TEXT_TOKENS text tokens
both    -> Flux2Transformer2DModel                    -> velocity of the art area's tokens
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateUsage=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false, reportArgumentType=false
# Reason: diffusers and transformers ship partial annotations.

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from gen_searcher.engines import painter_start
from gen_searcher.engines.diffusion_library import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TEXT_TOKENS = 48
"""Prompt length that the transformer sees; longer prompts are cut at the end, where the caption clause stands."""
TEXT_LAYERS = (1, 2)
"""Hidden states of the text encoder that the transformer reads, as the pipeline's `text_encoder_out_layers`."""
TOKEN_PX = 8
"""Side of the square of pixels behind one image token."""
REFERENCE_STRIDE = 10
"""The pipeline puts reference k at time coordinate 10 * (k + 1)."""

_LATENT_CHANNELS = 24
_TEXT_WIDTH = 64
_VOCABULARY = 640
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHAT_TEMPLATE = "{% for m in messages %}<|im_start|>{{m.role}}\n{{m.content}}<|im_end|>\n{% endfor %}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is trained."""

    vae: AutoencoderKLFlux2
    transformer: Flux2Transformer2DModel
    text_encoder: Qwen3ForCausalLM
    tokenizer: PreTrainedTokenizerFast


def new_parts(vae: AutoencoderKLFlux2, *, texts: Iterable[str]) -> Parts:
    """A trained VAE with a fresh transformer and text encoder; the tokenizer learns the words of `texts`."""
    tokenizer = new_tokenizer(texts)
    return Parts(vae=vae, transformer=new_transformer(), text_encoder=new_text_encoder(tokenizer), tokenizer=tokenizer)


def load_parts(folder: Path) -> Parts:
    """The parts of a painter's folder, to go on training."""
    return Parts(
        vae=AutoencoderKLFlux2.from_pretrained(folder / "vae", dtype=torch.float32),
        transformer=Flux2Transformer2DModel.from_pretrained(folder / "transformer", dtype=torch.float32),
        text_encoder=Qwen3ForCausalLM.from_pretrained(folder / "text_encoder", dtype=torch.float32),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"),
    )


def save_parts(parts: Parts, folder: Path) -> None:
    """Write a painter's folder in half precision."""
    half = new_pipeline(copy.deepcopy(parts)).to(torch.float16)
    half.save_pretrained(folder, safe_serialization=True)
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)  # where it came from on this machine is nobody's business
        path.write_text(json.dumps(config, indent=2) + "\n")


def new_vae() -> AutoencoderKLFlux2:
    """Picture <-> latents; half of the pixels' numbers are kept, so that letters and stars stay sharp."""
    vae = AutoencoderKLFlux2(
        block_out_channels=(16, 48, 64),
        decoder_block_out_channels=(24, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=_LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    for name, parameter in vae.named_parameters():
        if name.endswith("conv2.weight"):  # residual branches start silent: plain down- and upsampling learns first
            torch.nn.init.zeros_(parameter)
    return vae


def new_transformer() -> Flux2Transformer2DModel:
    """The denoiser: one double-stream block, four single-stream blocks, 160 wide."""
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=4 * _LATENT_CHANNELS,
        num_layers=1,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=5,
        joint_attention_dim=len(TEXT_LAYERS) * _TEXT_WIDTH,
        timestep_guidance_channels=128,
        mlp_ratio=2.0,
        axes_dims_rope=(8, 8, 8, 8),
        rope_theta=500,
        guidance_embeds=False,
    )
    painter_start.prepare(transformer)
    return transformer


def new_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that knows the words of `texts` and can spell everything else."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((*texts, "user", "assistant"), trainer)
    tokenizer.add_special_tokens(list(_SPECIAL))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=_SPECIAL[2], pad_token=_SPECIAL[0], model_max_length=512
    )
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def new_text_encoder(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """The text encoder, trained together with the transformer."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=_TEXT_WIDTH,
            intermediate_size=2 * _TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=256,
            initializer_range=0.05,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_pipeline(parts: Parts) -> Flux2KleinPipeline:
    """The parts as the pipeline that the painter loads."""
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        transformer=parts.transformer,
        is_distilled=True,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def encode_text(text_encoder: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> Tensor:
    """[B, TEXT_TOKENS, width] exactly as the pipeline encodes prompts."""
    return Flux2KleinPipeline._get_qwen3_prompt_embeds(
        text_encoder,
        tokenizer,
        list(prompts),
        max_sequence_length=TEXT_TOKENS,
        hidden_states_layers=list(TEXT_LAYERS),
    )


def patches(latents: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 4C, H/2, W/2], the order that the pipeline uses."""
    batch, channels, height, width = latents.shape
    grid = latents.view(batch, channels, height // 2, 2, width // 2, 2)
    return grid.permute(0, 1, 3, 5, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)


def position_ids(width: int, height: int, *, time: int = 0) -> Tensor:
    """[height * width, 4] coordinates of a picture's tokens: time, row, column, 0."""
    return torch.cartesian_prod(torch.tensor([time]), torch.arange(height), torch.arange(width), torch.arange(1))


def text_position_ids() -> Tensor:
    """[TEXT_TOKENS, 4] coordinates of the text tokens."""
    one = torch.arange(1)
    return torch.cartesian_prod(one, one, one, torch.arange(TEXT_TOKENS))
