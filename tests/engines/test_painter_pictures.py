from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from gen_searcher.engines.painter_heldout import held_out_table, psnr_db
from gen_searcher.engines.painter_optim import Average, PainterOptimizer, orthogonal
from gen_searcher.engines.painter_pictures import Examples, Named, split
from gen_searcher.world import canvas


def named(family: str, count: int) -> list[Named]:
    shades = np.linspace(0, 255, count).astype(int)
    return [
        Named(name=f"{family} {n:02}", family=family, image=Image.new("RGB", (128, 128), (int(shade), 90, 20)))
        for n, shade in enumerate(shades)
    ]


def test_every_eighth_picture_of_each_family_is_held_out() -> None:
    kept, held_out = split([*named("flag", 16), *named("element", 8)])
    assert [picture.name for picture in held_out] == ["element 04", "flag 04", "flag 12"]
    assert len(kept) == 21
    assert not {picture.name for picture in kept} & {picture.name for picture in held_out}


def test_examples_show_what_the_canvas_composes_and_repeat_by_seed() -> None:
    first, again = (
        Examples(named("flag", 9), seed=5).example(layout="beside", style="plain", references=2) for _ in "ab"
    )
    assert first.prompt == again.prompt
    assert first.art.tobytes() == again.art.tobytes()
    assert first.art.size == canvas.ART_PX
    assert psnr_db(first.art.crop((0, 0, 64, 64)), first.references[0]) > 50
    assert psnr_db(first.art.crop((64, 0, 128, 64)), first.references[1]) > 50


def test_a_reference_without_a_slot_is_there_to_be_ignored() -> None:
    example = Examples([], seed=1).example(layout="alone", style="plain", references=2)
    assert len(example.references) == 2
    assert psnr_db(example.art.crop((32, 0, 96, 64)), example.references[0]) > 50


def test_prompts_vary_and_half_of_them_carry_a_caption() -> None:
    examples = Examples(named("flag", 9), seed=2)
    prompts = [examples.prompt(layout="inset", style="night") for _ in range(400)]
    assert len(set(prompts)) > 250
    captions = sum(canvas.caption_in(prompt) is not None for prompt in prompts)
    assert 150 < captions < 250


def test_a_perfect_painter_scores_a_perfect_table() -> None:
    pictures = named("flag", 20)

    def perfect(prompt: str, references: Sequence[Image.Image], seed: int) -> Image.Image:
        layout = next(
            name
            for name in canvas.LAYOUTS
            for s in canvas.STYLES
            if prompt == canvas.wording(layout=name, style=s, caption=None)
        )
        style = next(s for s in canvas.STYLES if prompt == canvas.wording(layout=layout, style=s, caption=None))
        return canvas.compose(references, layout=layout, style=style, caption=None).crop((0, 0, *canvas.ART_PX))

    rows = held_out_table(perfect, pictures[:3], pictures, pictures=3)
    assert len(rows) == 12
    assert all(row.found == 1.0 and row.right_db > 90 > row.wrong_db for row in rows)


def test_orthogonal_brings_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((24, 60), (60, 24)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_the_optimizer_learns_and_the_average_swaps_back() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    x = torch.randn(64, 8)
    y = x[:, :1] * x[:, 1:2]
    optimizer = PainterOptimizer([model], matrix_lr=0.05, other_lr=1e-2)
    average = Average(optimizer.parameters)
    before = float(((model(x) - y) ** 2).mean().detach())
    for step in range(80):
        optimizer.step(((model(x) - y) ** 2).mean(), done=step / 80)
        average.update()
    assert float(((model(x) - y) ** 2).mean().detach()) < 0.3 * before
    kept = [parameter.detach().clone() for parameter in model.parameters()]
    average.swap()
    average.swap()
    assert all(torch.equal(a, b) for a, b in zip(kept, model.parameters(), strict=True))
