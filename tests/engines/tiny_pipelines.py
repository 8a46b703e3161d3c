"""Pipelines of random weights, each of a family that diffusers knows: a few hundred kilobytes, built in a second."""

# pyright: reportPrivateImportUsage=false, reportArgumentType=false, reportUnknownMemberType=false
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# Reason: diffusers ships partial annotations, and the pipelines are built from toy parts.

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from gen_searcher.engines.diffusion_library import (
    AutoencoderKLFlux2,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Flux2Transformer2DModel,
    PreTrainedTokenizerFast,
)
from tests.engines.test_qwen_edit import tiny_pipeline as tiny_qwen_edit
from tests.engines.test_qwen_edit import tiny_tokenizer as qwen_tokenizer
from tests.engines.tiny_klein import SPECIAL, tiny_klein, tiny_tokenizer


def tiny_qwen_image(folder: Path) -> Path:
    """Qwen-Image from the parts of its editing sibling."""
    from diffusers import QwenImagePipeline

    parts = tiny_qwen_edit(qwen_tokenizer())
    return _saved(
        QwenImagePipeline(
            scheduler=parts.scheduler,
            vae=parts.vae,
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            transformer=parts.transformer,
        ),
        folder,
    )


def tiny_flux2(folder: Path) -> Path:
    """FLUX.2 with a Mistral of two layers; the checkpoint's processor is stood in for by a tokenizer with a template."""
    from diffusers import Flux2Pipeline
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'][0]['text'] }}{% endfor %}"
    )
    text = {
        "model_type": "mistral",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 2048,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=64,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
    )
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )
    return _saved(
        Flux2Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae,
            text_encoder=Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision)),
            tokenizer=tokenizer,
            transformer=transformer,
        ),
        folder,
    )


def tiny_kontext(folder: Path) -> Path:
    """FLUX.1 Kontext with a CLIP and a T5 of one layer."""
    from diffusers import FluxKontextPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, T5EncoderModel

    torch.manual_seed(0)
    tokenizer = _clip_tokenizer()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    return _saved(
        FluxKontextPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=_vae(),
            text_encoder=CLIPTextModel(_clip(tokenizer)),
            tokenizer=tokenizer,
            text_encoder_2=T5EncoderModel(_t5(tokenizer)),
            tokenizer_2=tokenizer,
            transformer=transformer,
        ),
        folder,
    )


def tiny_sd3(folder: Path) -> Path:
    """Stable Diffusion 3 with two CLIPs and a T5 of one layer."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection, T5EncoderModel

    torch.manual_seed(0)
    tokenizer = _clip_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        pos_embed_max_size=16,
    )
    return _saved(
        StableDiffusion3Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=_vae(),
            text_encoder=CLIPTextModelWithProjection(_clip(tokenizer)),
            tokenizer=tokenizer,
            text_encoder_2=CLIPTextModelWithProjection(_clip(tokenizer)),
            tokenizer_2=tokenizer,
            text_encoder_3=T5EncoderModel(_t5(tokenizer, width=64)),
            tokenizer_3=tokenizer,
            transformer=transformer,
        ),
        folder,
    )


def tiny_z_image(folder: Path) -> Path:
    """Z-Image with a Qwen3 of two layers."""
    from diffusers import ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    text_encoder = Qwen3Model(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=1024,
        )
    )
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[4, 4, 8],
        axes_lens=[1024, 64, 64],
    )
    for name, weight in transformer.named_parameters():
        if "pad_token" in name:  # diffusers leaves them unset, whatever lay in memory
            torch.nn.init.normal_(weight)
    return _saved(
        ZImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=_vae(),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
        ),
        folder,
    )


FAMILIES: Mapping[str, Callable[[Path], Path]] = {
    "flux2_klein": tiny_klein,
    "flux2_dev": tiny_flux2,
    "flux_kontext": tiny_kontext,
    "qwen_image": tiny_qwen_image,
    "sd35": tiny_sd3,
    "z_image": tiny_z_image,
}
"""By the name of the file in `conf/generator`."""


def _saved(pipeline: DiffusionPipeline, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder


def _clip_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 32
    return tokenizer


def _clip(tokenizer: PreTrainedTokenizerFast) -> object:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        projection_dim=32,
        eos_token_id=tokenizer.convert_tokens_to_ids(SPECIAL[2]),
    )


def _t5(tokenizer: PreTrainedTokenizerFast, *, width: int = 32) -> object:
    from transformers import T5Config

    return T5Config(vocab_size=len(tokenizer), d_model=width, d_kv=16, d_ff=32, num_layers=1, num_heads=2)


def _vae() -> object:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=1.0,
        shift_factor=0.0,
    )
