"""Case 43: folders from strangers. None of their code is run, and what cannot be a policy is refused with what is wrong."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gen_searcher.engines.learner_backend import Kind, Shard
from gen_searcher.engines.learner_checkpoint import TRAINER, load
from gen_searcher.engines.policy_files import MAX_HEADER_BYTES, check_policy, tensor_names
from gen_searcher.engines.qwen_forward import load_qwen
from gen_searcher.errors import UserError
from tests.engines.learner_setup import save_tiny

pytestmark = pytest.mark.fault(43)

WEIGHTS = "model.safetensors"
SPY = "import pathlib; pathlib.Path({path!r}).touch()"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "policy"))


def changed_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.code = SPY.format(path=str(path))

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, (self.code,)


def test_weights_as_a_pickle_are_not_read(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("pytorch_model.bin", "weights.pkl"):
        (folder / name).write_bytes(pickle.dumps(Payload(ran)))
    pickle.loads(pickle.dumps(Payload(ran)))
    assert ran.exists(), "the payload works"
    ran.unlink()
    load_qwen(folder, dtype=torch.float32)
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"pytorch_model\.bin may hold a pickle, which is never read"):
        load_qwen(folder, dtype=torch.float32)
    (folder / WEIGHTS).write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises(UserError, match="is no whole safetensors file"):
        load_qwen(folder, dtype=torch.float32)
    assert not ran.exists()


def test_code_that_a_folder_brings_along_is_not_run(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(SPY.format(path=str(ran)) + "\nclass Evil:\n    pass\n")
    auto = dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer", "AutoModelForCausalLM"), "evil.Evil")
    changed_config(folder, auto_map=auto)
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}))
    load_qwen(folder, dtype=torch.float32)
    assert not ran.exists()


def test_another_architecture_is_named(folder: Path) -> None:
    changed_config(folder, architectures=["LlamaForCausalLM"])
    with pytest.raises(UserError, match=r"architectures is \['LlamaForCausalLM'\]; a policy must be a Qwen3VL"):
        load_qwen(folder, dtype=torch.float32)


def test_a_policy_with_other_vision_tokens_is_refused_before_a_picture_is_cut_for_it(folder: Path) -> None:
    vision = {"patch_size": 14, "spatial_merge_size": 2}
    changed_config(folder, architectures=["Qwen2_5_VLForConditionalGeneration"], vision_config=vision)
    with pytest.raises(UserError, match="a vision token covers 28 x 28 px; pictures are cut for 32"):
        check_policy(folder)


def test_weights_that_do_not_fit_are_refused_and_none_is_drawn_at_random(folder: Path) -> None:
    sound = load_file(folder / WEIGHTS)
    name = next(name for name in sound if name.endswith("q_proj.weight"))
    save_file({**sound, name: torch.zeros(3, 5)}, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"its weights do not fit its config\.json"):
        load_qwen(folder, dtype=torch.float32)
    del sound[name]
    save_file(sound, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the weights of 1 parameters are missing, e\.g\. .*q_proj\.weight"):
        load_qwen(folder, dtype=torch.float32)


HEADERS = {
    "longer than any memory": struct.pack("<Q", 2**63) + b"{}",
    "longer than the file": struct.pack("<Q", 10_000) + b"{}",
    "within the file, past the format's limit": struct.pack("<Q", MAX_HEADER_BYTES + 1),
    "cut": b"\x08\0\0",
    "empty": b"",
    "no JSON": struct.pack("<Q", 4) + b"{{{{",
    "no object": struct.pack("<Q", 2) + b"[]",
    "nested without end": struct.pack("<Q", 100_000) + b"[" * 100_000,
}


@pytest.mark.parametrize("harm", HEADERS)
def test_an_absurd_header_is_refused_before_it_is_read(tmp_path: Path, harm: str) -> None:
    path = tmp_path / WEIGHTS
    path.write_bytes(HEADERS[harm])
    if harm.startswith("within"):
        with path.open("r+b") as file:
            file.truncate(MAX_HEADER_BYTES + 100)  # a hole: nothing is on the disk
    with pytest.raises(UserError, match=r"model\.safetensors is no (whole )?safetensors file"):
        tensor_names(path)


@pytest.mark.parametrize("target", ["../evil.safetensors", "/etc/passwd", "missing.safetensors"])
def test_an_index_that_points_out_of_its_folder_is_refused(folder: Path, target: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": target}}))
    with pytest.raises(UserError, match="which is no weight file of this folder"):
        check_policy(folder)


class OneWeight:
    """A learner's state of a single matrix."""

    def __init__(self) -> None:
        self.values = torch.zeros(4)

    def shards(self, kind: Kind) -> dict[str, Shard]:
        return {"a": Shard(values=self.values, start=0, shape=torch.Size([2, 2]))}

    @contextmanager
    def restoring(self, *, updates: int):
        yield

    def weights(self):
        return iter(())


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor] | bytes, **trainer: object) -> Path:
    folder.mkdir()
    path = folder / "state-0-of-1.safetensors"
    path.write_bytes(tensors) if isinstance(tensors, bytes) else save_file(tensors, path)
    made = {"format": 2, "steps_done": 0, "world": 1, "base": "x", **trainer}
    (folder / TRAINER).write_text(json.dumps(made))
    return folder


def test_a_checkpoint_of_other_shapes_is_refused_and_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    state = OneWeight()
    wide = checkpoint(tmp_path / "wide", {"master/a": torch.ones(4, 4)})
    with pytest.raises(UserError, match=r"a is \[4, 4\] there and \[2, 2\] here; the checkpoint is of another policy"):
        load(state, wide)
    assert state.values.tolist() == [0.0] * 4, "the first values of a larger matrix would have fitted"
    with pytest.raises(UserError, match=r"1 parameters are trained either there or here"):
        load(state, checkpoint(tmp_path / "more", {"master/a": torch.ones(2, 2), "master/b": torch.ones(1)}))


@pytest.mark.parametrize(
    ("trainer", "says"),
    [
        ({"world": -1}, "world: Input should be greater than or equal to 1"),
        ({"world": "many"}, "world: Input should be a valid integer"),
        ({"world": 10**9}, r"state-0-of-1000000000\.safetensors: missing"),
        ({"steps_done": None}, "steps_done: Input should be a valid integer"),
        ({"format": 1}, "a checkpoint of another version"),
    ],
)
def test_a_checkpoint_whose_description_lies_is_refused(tmp_path: Path, trainer: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(OneWeight(), checkpoint(tmp_path / "c", {"master/a": torch.ones(2, 2)}, **trainer))


def test_a_checkpoint_that_is_a_pickle_is_not_read(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    folder = checkpoint(tmp_path / "c", pickle.dumps(Payload(ran)))
    with pytest.raises(UserError, match=r"state-0-of-1\.safetensors: damaged .*resume from another checkpoint"):
        load(OneWeight(), folder)
    (folder / TRAINER).write_text("{")
    with pytest.raises(UserError, match=r"trainer\.json: the file: Invalid JSON"):
        load(OneWeight(), folder)
    assert not ran.exists()
