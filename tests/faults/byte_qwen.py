"""A tiny Qwen3-VL that reads the byte renderer's tokens."""

from __future__ import annotations

import torch

from gen_searcher.agent.render import Renderer
from gen_searcher.engines.qwen_forward import Qwen3VLForConditionalGeneration


def byte_qwen() -> Qwen3VLForConditionalGeneration:
    from transformers import Qwen3VLConfig

    renderer = Renderer.over_bytes()
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": 320,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=renderer.picture_id,
        video_token_id=319,
        vision_start_token_id=318,
        vision_end_token_id=317,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config)
    model.set_attn_implementation({"text_config": "gen_searcher_segments", "vision_config": "sdpa"})
    return model
