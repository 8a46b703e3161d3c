# pyright: reportPrivateImportUsage=false, reportArgumentType=false
# Reason: diffusers ships partial annotations, and the test builds a pipeline from toy parts.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from gen_searcher.engines import qwen_edit
from gen_searcher.engines.qwen_library import PreTrainedTokenizerFast, Qwen2VLImageProcessorPil, edit_plus
from gen_searcher.testing.generator_kit import check_generator

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SPECIAL[2], pad_token=SPECIAL[0])


def tiny_pipeline(tokenizer: PreTrainedTokenizerFast) -> edit_plus.QwenImageEditPlusPipeline:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(0)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    text_encoder = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "vocab_size": len(tokenizer),
                "rope_parameters": rope,
                "max_position_embeddings": 1024,
                "initializer_range": 0.5,
            },
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": 16,
                "fullatt_block_indexes": [0],
                "patch_size": 14,
                "window_size": 112,
            },
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )
    ).eval()
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=1,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    ).eval()
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    ).eval()
    pipeline = edit_plus.QwenImageEditPlusPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        processor=None,
        transformer=transformer,
    )
    pipeline.prompt_template_encode = TEMPLATE
    pipeline.prompt_template_encode_start_idx = 6
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_image_processor() -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=112 * 112)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def _stock_sizes() -> object:
    yield
    qwen_edit.set_reference_sizes(condition_px=384, vae_px=1024)


def test_placeholders_expand_to_the_patches_of_their_pictures() -> None:
    assert qwen_edit.expand_placeholders("a<|image_pad|>b<|image_pad|>", [2, 1]) == (
        "a<|image_pad|><|image_pad|>b<|image_pad|>"
    )
    with pytest.raises(ValueError, match="1 image placeholders in the prompt for 2 pictures"):
        qwen_edit.expand_placeholders("<|image_pad|>", [1, 1])


@torch.no_grad()
def test_without_the_mark_pictures_get_the_positions_of_words() -> None:
    tokenizer = tiny_tokenizer()
    pipeline = tiny_pipeline(tokenizer)
    processor = qwen_edit.PlainProcessor(tokenizer=tokenizer, image_processor=tiny_image_processor())
    pipeline.processor = processor
    stock, _ = pipeline._get_qwen_prompt_embeds("draw it", image=[picture(0)])
    image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert isinstance(image_token, int)
    qwen_edit.mark_image_tokens(pipeline.text_encoder, image_token_id=image_token)
    marked, _ = pipeline._get_qwen_prompt_embeds("draw it", image=[picture(0)])

    text = TEMPLATE.format("Picture 1: <|vision_start|><|image_pad|><|vision_end|>draw it")
    inputs = processor(text=[text], images=[picture(0)])
    right = pipeline.text_encoder(
        **inputs, mm_token_type_ids=(inputs["input_ids"] == image_token).int(), output_hidden_states=True
    ).hidden_states[-1][:, 6:]
    assert torch.equal(marked, right)
    assert float((stock - right).abs().max()) > 0.05


async def test_a_folder_loads_and_draws_the_same_picture_for_the_same_seed(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tiny_pipeline(tokenizer).save_pretrained(tmp_path)
    tiny_image_processor().save_pretrained(tmp_path / "processor")
    model = qwen_edit.QwenEditModel(
        path=str(tmp_path),
        size_px=(64, 32),
        steps=2,
        guidance=1.0,
        condition_px=56,
        vae_px=64,
        template_start_tokens=6,
        dtype="float32",
        device="cpu",
    )
    first, again, other = [await model.draw("draw it", [picture(0), picture(1)], seed=seed) for seed in (3, 3, 4)]
    assert first.size == (64, 32)
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert (await model.draw("draw it", [picture(2), picture(1)], seed=3)).tobytes() != first.tobytes()
    blank = Image.new("RGB", (64, 32), "white")
    without = await model.draw("draw it", [], seed=3)
    assert without.tobytes() == (await model.draw("draw it", [blank], seed=3)).tobytes() != first.tobytes()
    report = await check_generator(model, qwen_edit.QwenEditModel.declare({"size_px": (64, 32)}))
    assert not report.failed, report.text()
