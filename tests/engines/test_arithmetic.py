from __future__ import annotations

import torch

from gen_searcher.engines.arithmetic import arithmetic


def test_it_names_what_bits_depend_on_and_changes_with_each_of_it() -> None:
    said = arithmetic(device="cpu", threads=2, ranks=1)
    assert said.startswith(f"torch {torch.__version__}, ")
    assert said.endswith(f"{torch.backends.cpu.get_cpu_capability()}, threads 2, ranks 1")
    assert said == arithmetic(device="cpu", threads=2, ranks=1)
    assert len({said, arithmetic(device="cpu", threads=1, ranks=1), arithmetic(device="cpu", threads=2, ranks=2)}) == 3
