"""`gen-searcher serve generator`: the configured image model behind the reference's `POST /generate`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import cast

from gen_searcher.config.capability import plug_capability
from gen_searcher.config.root import RunConfig
from gen_searcher.protocols import ImageModel
from gen_searcher.tools.limited import close

log = logging.getLogger(__name__)


def generator(cfg: RunConfig) -> int:
    """Serve until interrupted or terminated; requests in flight are finished. Prints where."""
    from gen_searcher.engines.hosted.server import GeneratorServer

    cfg.generator.check(at="generator")
    model = cast("ImageModel", cfg.generator.build())
    server = GeneratorServer(model, capability=plug_capability(cfg.generator))

    async def serve() -> None:
        stopped = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
        url = await server.start(host=cfg.serve.host, port=cfg.serve.port)
        sys.stdout.write(f"{url}/generate\n")
        sys.stdout.flush()
        await stopped.wait()
        log.info("stopping: requests in flight are finished")
        await server.stop()
        await close(model)

    asyncio.run(serve())
    return 0
