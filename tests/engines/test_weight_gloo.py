"""The learner's side runs in a process of its own, as it does in a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gen_searcher.engines.weight_files import write_weights
from gen_searcher.engines.weight_gloo import fetch

SERVER = """
import sys
from pathlib import Path
from gen_searcher.engines.weight_gloo import WeightServer
server = WeightServer(Path(sys.argv[1]), host="127.0.0.1")
print(server.address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "learner"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate("", timeout=30)


def test_engines_pull_whole_files_again_and_again(learner: str, tmp_path: Path) -> None:
    sizes = (1_000, 40_000_000)  # the second takes more than one chunk
    for version, size in enumerate(sizes, start=1):
        tensors = {"a": torch.arange(size, dtype=torch.float32) * version, "b": torch.ones(3, dtype=torch.bfloat16)}
        write_weights(tensors, tmp_path / "learner" / f"v{version}.safetensors")
    for version in (1, 2, 1):  # the third ask is that of an engine that restarted
        target = tmp_path / f"engine-{version}.safetensors"
        fetch(learner, f"v{version}.safetensors", target)
        source = tmp_path / "learner" / f"v{version}.safetensors"
        assert target.stat().st_size == source.stat().st_size
        found, expected = load_file(target), load_file(source)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert len(list(tmp_path.glob("*.part"))) == 0


def test_a_version_that_was_replaced_is_said_to_be_gone(learner: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not publish v9\.safetensors any more"):
        fetch(learner, "v9.safetensors", tmp_path / "engine.safetensors")
    write_weights({"a": torch.ones(4)}, tmp_path / "secret.safetensors")
    with pytest.raises(FileNotFoundError):
        fetch(learner, "../secret.safetensors", tmp_path / "engine.safetensors")
