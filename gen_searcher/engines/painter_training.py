"""Trains the embedded painter: first its eyes (the VAE), then its hand (transformer and text encoder together).

Examples -> train_vae (whole pictures and crops) -> latents
latents + prompts -> train_denoiser (flow matching, weighted in picture space) -> Flux2Klein folder, fp16

What it learns from is in `painter_pictures`, how well it learnt in `painter_heldout`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportPrivateImportUsage=false
# Reason: diffusers ships partial annotations; a model's config and output are untyped in it.

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from gen_searcher.engines import painter_net as net
from gen_searcher.engines.diffusers_model import load_pipeline, paint
from gen_searcher.engines.diffusion_library import AutoencoderKLFlux2
from gen_searcher.engines.painter import STEPS, painter_call
from gen_searcher.engines.painter_heldout import Draw, held_out_table, sample_sheet, write_table
from gen_searcher.engines.painter_optim import Average, PainterOptimizer
from gen_searcher.engines.painter_pictures import Example, Examples, Named, reference, split
from gen_searcher.world import canvas
from gen_searcher.world.world import World

Log = Callable[[str], None]

_VAE_PICTURES = 2400
_VAE_ARTS = 500
_CROP_PX = 32
_LATENT_NOISE = 0.02
_DENOISER_SUBJECTS = 800
_DENOISER_EXAMPLES = 1600
_BATCH = 16
_FIRST_LOOK_MINUTES = 3
_LOOK_EVERY_MINUTES = 6
_MIX: tuple[tuple[str, int, float], ...] = (
    ("alone", 1, 0.22),
    ("alone", 2, 0.06),
    ("beside", 2, 0.20),
    ("inset", 2, 0.52),
)
"""Layout, number of references, share of the examples: the inset is the hardest to learn."""
_STYLES = ("plain", "night", "gray", "framed", "gray")
"""Taken in turn: colour is the hardest to forget."""
_SMALL_SLOT_WEIGHT = 5.0
"""Tokens of a slot smaller than the others count this much in the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """Examples of one number of references, ready to learn from."""

    references: Tensor
    """[N, references * tokens, channels]"""
    art: Tensor
    """[N, tokens, channels]"""
    weights: Tensor
    """[N, tokens, 1] of each art token in the loss."""
    prompts: tuple[tuple[str, ...], ...]
    """Several wordings of each example."""


def autocast() -> AbstractContextManager[object]:
    """bf16 where the processor computes in it, else fp32."""
    is_fast = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_fast)


def pixels(images: Sequence[Image.Image]) -> Tensor:
    """[B, 3, H, W] in -1..1."""
    stack = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(vae: AutoencoderKLFlux2, examples: Examples, *, minutes: float, log: Log) -> None:
    """Learn to see and to draw pixels; crops first because they are cheap, then whole pictures and art areas."""
    _train_eyes(vae, [vae], examples, minutes=minutes, log=log)
    _set_latent_scale(vae, pixels([reference(examples.subject()) for _ in range(600)]))


def polish_decoder(vae: AutoencoderKLFlux2, examples: Examples, *, minutes: float, log: Log) -> None:
    """Sharpen the decoder alone: the latents, and with them the denoiser, stay valid."""
    vae.decoder.requires_grad_(requires_grad=True)
    _train_eyes(vae, [vae.decoder], examples, minutes=minutes, log=log)


def _train_eyes(
    vae: AutoencoderKLFlux2, learning: Sequence[nn.Module], examples: Examples, *, minutes: float, log: Log
) -> None:
    subjects = pixels([reference(examples.subject()) for _ in range(_VAE_PICTURES)])
    arts = pixels([_any_example(examples).art for _ in range(_VAE_ARTS)])
    optimizer = PainterOptimizer(learning, matrix_lr=0.03, other_lr=3e-3)
    average = Average(optimizer.parameters)
    start, step, losses = time.monotonic(), 0, list[float]()
    vae.train()
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        clean = _vae_batch(subjects, arts, done=done)
        with autocast():
            latents = vae.encode(clean).latent_dist.mode().float()
            drawn = vae.decode(latents + _LATENT_NOISE * torch.randn_like(latents)).sample.float()
        loss = functional.l1_loss(drawn, clean) + functional.mse_loss(drawn, clean) + 1e-4 * latents.square().mean()
        optimizer.step(loss, done=done)
        average.update()
        step += 1
        losses.append(float(loss.detach()))
        if step % 100 == 0:
            log(f"vae step {step} at {done * minutes:.1f} min, loss {np.mean(losses[-100:]):.4f}")
    average.swap()
    vae.eval()


def _vae_batch(subjects: Tensor, arts: Tensor, *, done: float) -> Tensor:
    chance = random.random() + (0.5 if done > 0.8 else 0.0)
    if chance < 0.6:
        chosen = subjects[torch.randint(len(subjects), (16,))]
        top, left = (random.randrange(0, canvas.SLOT_PX - _CROP_PX + 1, 4) for _ in range(2))
        return chosen[:, :, top : top + _CROP_PX, left : left + _CROP_PX]
    if chance < 1.1:
        return subjects[torch.randint(len(subjects), (4,))]
    return arts[torch.randint(len(arts), (2,))]


@torch.no_grad()
def _set_latent_scale(vae: AutoencoderKLFlux2, subjects: Tensor) -> None:
    """The pipeline normalises patched latents by the VAE's batch-norm statistics."""
    patched = torch.cat([net.patches(vae.encode(part).latent_dist.mode()) for part in subjects.split(50)])
    vae.bn.running_mean.copy_(patched.mean((0, 2, 3)))
    vae.bn.running_var.copy_(patched.var((0, 2, 3)))


@torch.no_grad()
def tokens(vae: AutoencoderKLFlux2, images: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, H/8 * W/8, channels], normalised as in the pipeline."""
    mean = vae.bn.running_mean.view(1, -1, 1, 1)
    scale = (vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).sqrt()
    parts: list[Tensor] = []
    for part in images.split(32):
        with autocast():
            latents = vae.encode(part).latent_dist.mode().float()
        parts.append(((net.patches(latents) - mean) / scale).flatten(2).transpose(1, 2))
    return torch.cat(parts)


def encode_examples(vae: AutoencoderKLFlux2, examples: Examples) -> dict[int, Latents]:
    """By number of references; subjects are shared between examples so that each is encoded once."""
    subjects = [examples.subject() for _ in range(_DENOISER_SUBJECTS)]
    subject_tokens = tokens(vae, pixels([reference(subject) for subject in subjects]))
    found: dict[int, Latents] = {}
    for count in (1, 2):
        shown: list[Tensor] = []
        arts: list[Tensor] = []
        weights: list[Tensor] = []
        prompts: list[tuple[str, ...]] = []
        for layout, references, share in _MIX:
            if references != count:
                continue
            for index in range(int(share * _DENOISER_EXAMPLES)):
                style = _STYLES[index % len(_STYLES)]
                chosen = random.sample(range(len(subjects)), max(count, len(canvas.LAYOUTS[layout].slots)))
                example = examples.composed([subjects[k] for k in chosen], layout=layout, style=style, references=count)
                shown.append(torch.cat([subject_tokens[k] for k in chosen[:count]]))
                arts.append(pixels([example.art])[0])
                weights.append(_token_weights(layout))
                prompts.append((example.prompt, *(examples.prompt(layout=layout, style=style) for _ in range(5))))
        found[count] = Latents(
            references=torch.stack(shown),
            art=tokens(vae, torch.stack(arts)),
            weights=torch.stack(weights),
            prompts=tuple(prompts),
        )
    return found


def _token_weights(layout: str) -> Tensor:
    columns, rows = (side // net.TOKEN_PX for side in canvas.ART_PX)
    weights = torch.ones(rows, columns)
    for slot in canvas.LAYOUTS[layout].slots:
        left, top, right, bottom = (side // net.TOKEN_PX for side in slot)
        if slot[2] - slot[0] < canvas.SLOT_PX:
            weights[top:bottom, left:right] = _SMALL_SLOT_WEIGHT
    return (weights / weights.mean()).reshape(-1, 1)


def train_denoiser(
    parts: net.Parts, latents: dict[int, Latents], *, minutes: float, log: Log, every: Callable[[float], None]
) -> None:
    """Learn to turn noise, a prompt and references into the art area; `every` is told the minutes once a minute."""
    transformer, encoder = parts.transformer, parts.text_encoder
    optimizer = PainterOptimizer([transformer, encoder], matrix_lr=0.02, other_lr=2e-3)
    average = Average(optimizer.parameters)
    single = sum(share for _, count, share in _MIX if count == 1)
    start, step, reported, losses = time.monotonic(), 0, 0, list[float]()
    transformer.train()
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        count = 1 if random.random() < single else 2
        loss = _denoiser_loss(parts, latents[count], count=count)
        optimizer.step(loss, done=done)
        average.update()
        step += 1
        losses.append(float(loss.detach()))
        if int(done * minutes) > reported:
            reported = int(done * minutes)
            log(f"denoiser step {step} at {done * minutes:.1f} min, loss {np.mean(losses[-50:]):.4f}")
            average.swap()
            every(done * minutes)
            transformer.train()
            average.swap()
    average.swap()
    transformer.eval()


def _denoiser_loss(parts: net.Parts, latents: Latents, *, count: int) -> Tensor:
    """Flow matching, mostly weighted as the error of the picture that the prediction implies."""
    chosen = torch.randint(len(latents.art), (_BATCH,))
    clean = latents.art[chosen]
    noise = torch.randn_like(clean)
    level = _noise_levels(_BATCH)
    noisy = (1 - level[:, None, None]) * clean + level[:, None, None] * noise
    columns, rows = (side // net.TOKEN_PX for side in canvas.ART_PX)
    side = canvas.SLOT_PX // net.TOKEN_PX
    positions = torch.cat(
        [net.position_ids(columns, rows)]
        + [net.position_ids(side, side, time=net.REFERENCE_STRIDE * (k + 1)) for k in range(count)]
    )
    prompts = [random.choice(latents.prompts[int(index)]) for index in chosen]
    with autocast():
        velocity = parts.transformer(
            hidden_states=torch.cat([noisy, latents.references[chosen]], dim=1),
            timestep=level,
            guidance=None,
            encoder_hidden_states=net.encode_text(parts.text_encoder, parts.tokenizer, prompts),
            txt_ids=net.text_position_ids().expand(_BATCH, -1, -1),
            img_ids=positions.expand(_BATCH, -1, -1),
            return_dict=False,
        )[0][:, : clean.shape[1]].float()
    implied = noisy - level[:, None, None] * velocity
    errors = (implied - clean).square() + 0.2 * (velocity - (noise - clean)).square()
    return (errors * latents.weights[chosen]).mean()


def _noise_levels(count: int) -> Tensor:
    """Mostly the levels that one or two sampling steps visit, 1 and 1/2; the rest anywhere."""
    chance = torch.rand(count)
    anywhere = torch.rand(count).clamp_min(0.05)
    return torch.where(chance < 0.5, 1.0, torch.where(chance < 0.8, 0.5, anywhere))


def _any_example(examples: Examples) -> Example:
    layout, count, _ = random.choices(_MIX, weights=[share for *_, share in _MIX])[0]
    return examples.example(layout=layout, style=random.choice(list(canvas.STYLES)), references=count)


def train_painter(
    out: Path,
    *,
    vae_minutes: float,
    dit_minutes: float,
    threads: int,
    seed: int,
    log: Log,
    start_from: Path | None = None,
    polish_minutes: float = 0.0,
    table_pictures: int = 8,
) -> None:
    """Train on the world's pictures but the held-out ones; write a Flux2Klein folder, `heldout.json`, `samples.png`.

    Args:
        out: Folder to write.
        vae_minutes: Minutes for the VAE; none with `start_from`, whose latents stay as they are.
        dit_minutes: Minutes for transformer and text encoder.
        threads: Torch threads of this process.
        seed: Of everything.
        log: Told one line at a time.
        start_from: Folder of an earlier painter to go on from.
        polish_minutes: Minutes at the end for the VAE's decoder alone.
        table_pictures: Held-out pictures per row of `heldout.json`.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    random.seed(seed)
    pictures = world_pictures()
    kept, held_out = split(pictures)
    examples = Examples(kept, seed=seed)
    if start_from is None:
        vae = net.new_vae()
        train_vae(vae, examples, minutes=vae_minutes, log=log)
        asked = [(layout, style) for layout in canvas.LAYOUTS for style in canvas.STYLES] * 40
        parts = net.new_parts(vae, texts=[examples.prompt(layout=layout, style=style) for layout, style in asked])
    else:
        parts = net.load_parts(start_from)
    parts.vae.eval().requires_grad_(requires_grad=False)
    out.mkdir(parents=True, exist_ok=True)

    def look(minute: float) -> None:
        if int(minute) % _LOOK_EVERY_MINUTES == _FIRST_LOOK_MINUTES:
            net.save_parts(parts, out)
            sample_sheet(drawer(out), held_out, per_family=1).save(out / f"samples-{minute:.0f}.png")

    if dit_minutes > 0:
        latents = encode_examples(parts.vae, examples)
        log(f"encoded {sum(len(part.art) for part in latents.values())} examples")
        train_denoiser(parts, latents, minutes=dit_minutes, log=log, every=look)
    if polish_minutes > 0:
        polish_decoder(parts.vae, examples, minutes=polish_minutes, log=log)
    net.save_parts(parts, out)
    write_table(out / "heldout.json", held_out_table(drawer(out), held_out, pictures, pictures=table_pictures))
    sample_sheet(drawer(out), held_out).save(out / "samples.png")


def world_pictures() -> list[Named]:
    """Every picture of the embedded world."""
    world = World.load()
    return [Named(name=e.name, family=e.kind, image=world.picture(e.id)) for e in world.entities.values()]


def drawer(folder: Path, *, steps: int = STEPS) -> Draw:
    """A painter's folder, as it ships, as a function that draws the art area."""
    pipeline = load_pipeline("Flux2KleinPipeline", str(folder), dtype="float32", device="cpu")
    call = painter_call(steps=steps)

    def draw(prompt: str, references: Sequence[Image.Image], seed: int) -> Image.Image:
        return paint(pipeline, call, prompt=prompt, references=references, seed=seed)

    return draw
