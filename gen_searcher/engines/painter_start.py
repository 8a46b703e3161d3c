"""How the denoiser starts: it already looks at the right place of a reference, and learns what to do with it.

From random numbers, finding out *where to look* takes most of the training. Three blocks therefore start with heads
whose rotary phases peak at one offset between a token of the art area and a token of a reference. Everything stays
trainable; values, outputs and the choice between the looks are random at first.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportPrivateImportUsage=false
# Reason: diffusers ships partial annotations, and torch types the children of a ModuleList as tensors or modules.

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gen_searcher.engines.diffusion_library import Flux2Transformer2DModel

_LOOKS: tuple[tuple[int, int, int], ...] = ((10, 0, -4), (10, 0, 0), (20, 0, -8))
"""Time, row, column from an art token to its reference token, block by block: the first reference in the middle,
the first on the left, the second on the right."""
_HEADS = 3
_CONSTANT = 12.0
"""Channel 0 of a block's normalised input is about this everywhere: what the looking heads are made from."""
_SHARPNESS = 1.7
_LOOKING_SHARPNESS = 2.4
_ENERGY: Mapping[tuple[int, int], float] = {
    (0, 0): 0.10,
    (0, 1): 0.10,
    (1, 0): 0.30,
    (1, 1): 0.10,
    (2, 0): 0.30,
    (2, 1): 0.10,
}
"""Share of a looking head's length by (axis, frequency); the rows and columns need the highest frequency."""
_NORMS = ("norm_q.weight", "norm_k.weight", "norm_added_q.weight", "norm_added_k.weight")


@torch.no_grad()
def prepare(transformer: Flux2Transformer2DModel) -> None:
    """Sharpen attention, open all gates, and point the looking heads of the first single-stream blocks."""
    for name, parameter in transformer.named_parameters():
        if name.endswith(_NORMS):
            nn.init.constant_(parameter, _SHARPNESS)
    axes = transformer.config.axes_dims_rope
    direction = _steady_direction(transformer)
    width = direction.numel()
    for modulation, sets in (
        (transformer.double_stream_modulation_img.linear, 2),
        (transformer.double_stream_modulation_txt.linear, 2),
        (transformer.single_stream_modulation.linear, 1),
    ):
        rows = modulation.weight.view(sets, 3, width, width)
        rows[:, :2] *= 0.1
        rows[:, 2] = direction  # gates start near 1
    transformer.single_stream_modulation.linear.weight[0] = _CONSTANT * direction
    for index, block in enumerate(transformer.single_transformer_blocks):
        joint = block.attn.to_qkv_mlp_proj.weight
        joint[:, 0] = 0.0
        if index >= len(_LOOKS):
            continue
        block.attn.norm_q.weight.fill_(_LOOKING_SHARPNESS)
        block.attn.norm_k.weight.fill_(_LOOKING_SHARPNESS)
        query = looking_vector(_LOOKS[index], axes=axes, theta=transformer.config.rope_theta)
        key = looking_vector((0, 0, 0), axes=axes, theta=transformer.config.rope_theta)
        for head in range(_HEADS):
            first = head * query.numel()
            joint[first : first + query.numel(), 0] = query
            joint[width + first : width + first + key.numel(), 0] = key


def looking_vector(offset: tuple[int, int, int], *, axes: tuple[int, ...], theta: float) -> Tensor:
    """[head width] unit vector whose rotary product with that of offset 0 peaks where the key lies `offset` further."""
    parts: list[Tensor] = []
    for axis, size in enumerate(axes):
        pairs = torch.zeros(size // 2, 2)
        for frequency in range(size // 2):
            energy = _ENERGY.get((axis, frequency), 0.0)
            if energy > 0:
                angle = offset[axis] * theta ** (-2 * frequency / size)
                pairs[frequency] = math.sqrt(energy) * torch.tensor([math.cos(angle), math.sin(angle)])
        parts.append(pairs.flatten())
    return torch.cat(parts)


def _steady_direction(transformer: Flux2Transformer2DModel) -> Tensor:
    """[width] vector whose product with the activated time embedding is about 1 at every noise level."""
    levels = torch.linspace(50, 1000, 20)
    embedded = nn.functional.silu(transformer.time_guidance_embed(levels, None))
    ridge = 1e-4 * embedded.square().sum() / len(levels) * torch.eye(len(levels))
    weights = torch.linalg.solve(embedded @ embedded.T + ridge, torch.ones(len(levels)))
    return embedded.T @ weights
