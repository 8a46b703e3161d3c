"""`gen-searcher generator check my_pkg:MyModel`, or of the configured generator: the conformance kit, case by case."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from gen_searcher.config.capability import plug_capability
from gen_searcher.config.root import RunConfig
from gen_searcher.protocols import ImageModel
from gen_searcher.tools.limited import close


def run(cfg: RunConfig) -> int:
    """Build the model, run the kit; 0 when every case passed or does not apply, 3 otherwise."""
    from gen_searcher.testing.generator_kit import Report, check_generator

    cfg.generator.check(at="generator")
    model = cast("ImageModel", cfg.generator.build())

    async def check() -> Report:
        try:
            return await check_generator(model, plug_capability(cfg.generator))
        finally:
            await close(model)

    report = asyncio.run(check())
    sys.stdout.write(f"{cfg.generator.target}\n{report.text()}\n")
    return 3 if report.failed else 0
