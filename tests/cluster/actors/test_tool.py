"""A tool worker's parts, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gen_searcher.cluster.actors.tool import ToolSpec, build_toolbox
from gen_searcher.config.agent import SearchConfig, ToolsConfig
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.limits import LimitsConfig, RetryConfig
from gen_searcher.config.plug import Plug
from gen_searcher.testing.virtual_time import run_virtually
from gen_searcher.tools.calling import LocalAuthority
from gen_searcher.tools.limits import Accounts
from gen_searcher.types import ToolCall, ToolKind
from gen_searcher.web import Hit, ImageHit


class Slow:
    """Finds one page, in `takes_s` seconds."""

    def __init__(self, *, takes_s: float, timeout_s: float) -> None:
        self._takes_s = takes_s
        self.timeout_s = timeout_s

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        await asyncio.sleep(self._takes_s)
        return [Hit(title=query, url="http://a.example/", snippet="")][:limit]

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        return []


def test_a_provider_s_own_timeout_is_longer_than_a_try_of_the_limits(tmp_path: Path) -> None:
    plug = Plug.model_validate({"_target_": f"{__name__}.Slow", "takes_s": 25.0, "timeout_s": 30.0})
    limits = LimitsConfig(retry=RetryConfig(attempts=1, try_s=10.0))
    spec = ToolSpec(
        search=SearchConfig(search=plug, images=plug),
        tools=ToolsConfig(),
        limits=limits,
        cassette=CassetteConfig(),
        images=str(tmp_path / "images"),
        tape_folder=str(tmp_path / "tape"),
    )

    async def main() -> ToolKind:
        toolbox = build_toolbox(spec, name="w", authority=LocalAuthority(Accounts(config=limits)), hosts={})
        found = await toolbox.call(ToolCall(name="search", arguments={"queries": ["q"]}), trajectory_id="t")
        await toolbox.close()
        return found.kind

    assert run_virtually(main()) is ToolKind.OK
