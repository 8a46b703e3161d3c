"""Stage 3: a grounding -> the picture that the request is later judged by."""

from __future__ import annotations

from pydantic import TypeAdapter

from gen_searcher.data.collect import COLLECTED
from gen_searcher.data.rows import Collected, Drawn, Picture, Rejected, StageName
from gen_searcher.data.stage import Made, Stage, row_id
from gen_searcher.drawing import Capability
from gen_searcher.errors import GeneratorRefused
from gen_searcher.protocols import Generator
from gen_searcher.train.seeds import derive_seed

DRAWN = TypeAdapter(Drawn)
GIVEN = "given"
"""Generator of a picture that came with its request."""


def draw_stage(
    generator: Generator, *, name: str, capability: Capability, who: str, seed: int
) -> Stage[Collected, Drawn]:
    """The stage. `name` is what the rows say of the generator, `capability` what it declares."""

    async def work(row: Collected) -> Made[Drawn]:
        given = row.proposal.target
        if given is not None:
            picture = Picture(image=given, generator=GIVEN, cost_usd=0.0)
            return Made(rows=(Drawn(proposal=row.proposal, work=row.work, picture=picture),))
        cost_usd = capability.usd_per_picture
        try:
            image = await generator.generate(row.work.grounding, seed=derive_seed(seed, "draw", row.proposal.id))
        except GeneratorRefused as error:
            raise Rejected("refused", error.message, cost_usd) from error
        picture = Picture(image=image, generator=name, cost_usd=cost_usd)
        return Made(rows=(Drawn(proposal=row.proposal, work=row.work, picture=picture),), cost_usd=cost_usd)

    return Stage(
        name=StageName.DRAW,
        who=who,
        takes=COLLECTED,
        gives=DRAWN,
        ident=row_id,
        work=work,
    )
