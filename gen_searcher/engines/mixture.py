"""Several image models as one: the seed of a picture says which of them draws it.

A policy that is trained with one image model learns what that model needs to be told. Trained with several it cannot lean
on the ways of one. Which model a *task* meets is decided where pictures get their seeds (`train.mixture`), so that all
attempts of a group are drawn by one model and compared alike; outside training the seed alone decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from gen_searcher.config.capability import plug_capability
from gen_searcher.config.plug import Plug
from gen_searcher.drawing import Capability, Member
from gen_searcher.engines.batching import batched
from gen_searcher.errors import ConfigError
from gen_searcher.protocols import ImageModel

if TYPE_CHECKING:
    from PIL.Image import Image

MEMBERS = "generator.members"
"""Where they stand in the configuration."""


class Mixture:
    """Implements `ImageModel`. Each image worker holds all of the models and needs room for them."""

    def __init__(self, *, members: Mapping[str, Plug]) -> None:
        """`members`: image models by any name, two at least. In the order of their names they share the seeds."""
        self._capability = mixed(members)
        self._models = [
            batched(cast("ImageModel", members[one.name].build()), one.capability) for one in self._capability.members
        ]

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """What all members can do."""
        return mixed(cast("Mapping[str, Plug]", keywords.get("members", {})))

    async def draw(self, prompt: str, references: Sequence[Image], *, seed: int) -> Image:
        """One picture by the model whose turn the seed is. Raises what that model raises."""
        return await self._models[seed % len(self._models)].draw(prompt, references, seed=seed)


def mixed(members: Mapping[str, Plug]) -> Capability:
    """What all of the members can do, and each of them.

    Raises:
        ConfigError: Fewer than two, or one is a mixture itself or cannot be had.
    """
    each = tuple(Member(name=name, capability=plug_capability(members[name])) for name in sorted(members))
    if len(each) < 2 or any(one.capability.members for one in each):
        raise ConfigError(f"{MEMBERS}: a mixture takes two or more image models, and no mixture among them")
    able = [one.capability for one in each]
    sizes = [one.sizes_px for one in able]
    return Capability(
        max_references=min((one.max_references for one in able if one.max_references is not None), default=None),
        sizes_px=tuple(sorted({size for own in sizes for size in own})) if all(sizes) else (),
        takes_seed=any(one.takes_seed for one in able),
        usd_per_picture=max(one.usd_per_picture for one in able),
        max_prompt_chars=min((one.max_prompt_chars for one in able if one.max_prompt_chars is not None), default=None),
        revision=", ".join(f"{one.name}: {members[one.name].target} {one.capability.revision}" for one in each),
        members=each,
    )


def plugs_of(plug: Plug) -> Mapping[str, Plug]:
    """The members of a mixture by name; empty for a plug that is none. Raises ConfigError."""
    resolved = plug.resolved()
    return cast("Mapping[str, Plug]", resolved.keywords.get("members", {})) if resolved.target is Mixture else {}
