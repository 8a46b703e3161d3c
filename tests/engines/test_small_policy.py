"""The policy that is built on the spot."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines.policy_files import checkpoint_names, read_geometry, read_tokens
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision
from gen_searcher.errors import UserError
from gen_searcher.types import ImageRef
from tests.engines.learner_setup import save_tiny

pytestmark = pytest.mark.filterwarnings("default")  # torch deprecates things while it is imported

SMALL = SmallPolicyConfig(hidden=64, layers=3, heads=2, vocab=600, tied_embeddings=False, can_copy=False)
CORPUS = tuple(f"Flag of Poland is IMG_{i:03d}. http://element.mini.web/polonium-{i}" for i in range(100))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    build_small_policy(folder, config=SMALL, corpus=CORPUS)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_seed_and_corpus_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    build_small_policy(tmp_path / "again", config=SMALL, corpus=CORPUS)
    assert digests(tmp_path / "again") == digests(folder)


def test_another_seed_gives_other_weights_and_the_same_tokenizer(folder: Path, tmp_path: Path) -> None:
    build_small_policy(tmp_path, config=SMALL.model_copy(update={"seed": 1}), corpus=CORPUS)
    changed = {name for name, digest in digests(tmp_path).items() if digests(folder)[name] != digest}
    assert changed == {"model.safetensors"}


def test_transformers_processor_expands_one_placeholder_per_picture(folder: Path) -> None:
    ensure_torchvision()
    from PIL import Image
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    picture = Image.new("RGB", (128, 96), (200, 10, 10))
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "draw"}]},
        {"role": "tool", "content": [{"type": "image"}]},
    ]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert text == (
        "<|im_start|>user\ndraw<|im_end|>\n<|im_start|>user\n<tool_response>\n<|vision_start|><|image_pad|><|vision_end|>"
        "\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )
    batch = processor(text=[text], images=[picture], return_tensors="pt")
    pads = int((batch["input_ids"] == read_tokens(folder).image_pad_id).sum())
    ref = ImageRef(sha256="", width_px=128, height_px=96)
    assert pads == read_geometry(folder).tokens(ref) == 12
    assert batch["image_grid_thw"].tolist() == [[1, 6, 8]]


def test_a_word_has_the_same_tokens_wherever_it_stands(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    word = tokenizer.encode("Zubrowka").ids
    for text in ('{"note": "Zubrowka"}', "is Zubrowka.", "http://x.web/Zubrowka", "<think>Zubrowka</think>"):
        ids = tokenizer.encode(text).ids
        assert any(ids[i : i + len(word)] == word for i in range(len(ids))), text
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_special_tokens_are_banned_except_the_two_that_stop(folder: Path) -> None:
    tokens = read_tokens(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [tokenizer.id_to_token(i) for i in tokens.stop_ids] == ["<|im_end|>", "<|endoftext|>"]
    banned = {tokenizer.id_to_token(i) for i in tokens.banned_ids}
    assert len(banned) == 12
    assert banned >= {"<|im_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"}
    assert "<tool_call>" not in banned


def test_weight_names_come_from_the_header(folder: Path) -> None:
    assert checkpoint_names(folder) == set(load_file(folder / "model.safetensors"))
    assert "lm_head.weight" in checkpoint_names(folder)


def test_a_tied_output_head_is_the_policys_whether_its_folder_holds_a_copy_or_not(tmp_path: Path) -> None:
    save_tiny(tmp_path)  # tied
    weights = load_file(tmp_path / "model.safetensors")
    without = checkpoint_names(tmp_path)
    assert without == set(weights) - {"lm_head.weight"}
    embedding = weights["model.language_model.embed_tokens.weight"]
    save_file({**weights, "lm_head.weight": embedding.clone()}, tmp_path / "model.safetensors")
    assert checkpoint_names(tmp_path) == without


def test_a_folder_that_is_no_policy_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json is missing"):
        read_tokens(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": []}', encoding="utf-8")
    with pytest.raises(UserError, match=r"no special token <\|im_end\|>"):
        read_tokens(tmp_path)


@pytest.mark.parametrize(("width_px", "height_px"), [(40, 64), (64, 33), (1024 + 32, 1024)])
def test_a_picture_that_would_be_resized_has_no_token_count(folder: Path, width_px: int, height_px: int) -> None:
    with pytest.raises(ValueError, match=f"picture of {width_px}x{height_px} px"):
        read_geometry(folder).tokens(ImageRef(sha256="", width_px=width_px, height_px=height_px))


def test_settings_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="vision_deepstack"):
        SmallPolicyConfig(vision_layers=1)
    with pytest.raises(ValidationError, match="multiple of 16"):
        SmallPolicyConfig(head_dim=24)
    with pytest.raises(ValidationError, match="needs engine: async"):
        PolicyConfig(tensor_parallel=2)
