from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gen_searcher.engines.learner_checkpoint import read_trainer, save_weights_alone
from gen_searcher.engines.weight_files import save_tensors, write_weights
from gen_searcher.errors import DiskTrouble, UserError, disk_trouble
from tests.faults.disks import small_disk

WEIGHTS = {"master/a": torch.tensor([1.0, 2.0]), "master/b": torch.tensor([[3.0]])}


def checkpoint(folder: Path) -> Path:
    """Of two ranks, after seven updates."""
    folder.mkdir(parents=True)
    averages = {name.replace("master", "exp_avg"): 10.0 * weight for name, weight in WEIGHTS.items()}
    for rank, name in enumerate("ab"):
        own = {key: value for key, value in {**WEIGHTS, **averages}.items() if key.endswith(name)}
        save_file(own, folder / f"state-{rank}-of-2.safetensors")
    (folder / "trainer.json").write_text(json.dumps({"format": 2, "steps_done": 7, "world": 2, "base": "x"}))
    return folder


def test_weights_alone_are_one_file_without_averages_and_made_no_update(tmp_path: Path) -> None:
    save_weights_alone(checkpoint(tmp_path / "source"), tmp_path / "checkpoints" / "step-7")
    target = tmp_path / "checkpoints" / "step-7"
    found = load_file(target / "state-0-of-1.safetensors")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {"master/a": [1.0, 2.0], "master/b": [[3.0]]}
    assert sorted(path.name for path in target.iterdir()) == ["state-0-of-1.safetensors", "trainer.json"]
    assert read_trainer(target) == {"format": 2, "steps_done": 0, "world": 1, "base": "x"}
    assert (tmp_path / "checkpoints" / "latest").read_text() == "step-7\n"


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no trainer\.json"):
        save_weights_alone(tmp_path, tmp_path / "copy")


@pytest.mark.fault(14)
def test_weights_that_do_not_fit_on_the_disk_end_the_run_and_leave_no_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=256) as disk:
        save_tensors({"a": torch.zeros(1000)}, disk / "small.safetensors")
        with pytest.raises(DiskTrouble, match=r"No space left on device.* What was saved before is whole") as caught:
            save_tensors({"a": torch.zeros(1 << 20)}, disk / "large.safetensors")
        assert caught.value.exit_code == 3
        assert [path.name for path in disk.iterdir()] == ["small.safetensors"]
        with pytest.raises(OSError, match="No space left on device") as raw:
            write_weights({"a": torch.zeros(1 << 20)}, disk / "v1.safetensors")
        assert isinstance(disk_trouble(raw.value), DiskTrouble)
        assert not (disk / "v1.safetensors").exists()
