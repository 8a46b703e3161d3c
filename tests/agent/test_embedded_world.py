"""The agent with all its real parts but the model: a scripted policy searches the embedded world over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.config.agent import AgentConfig, FetchConfig, ToolsConfig
from gen_searcher.image_store import ImageStore
from gen_searcher.testing.scripted_engine import ScriptedEngine
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.types import Outcome, Task
from gen_searcher.world.providers import EmbeddedWeb
from gen_searcher.world.server import EmbeddedServer
from gen_searcher.world.world import World


def call(name: str, **arguments: object) -> str:
    return f"<think>x</think>\n<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


async def test_a_question_is_answered_from_the_embedded_world(tmp_path: Path) -> None:
    server, web, renderer, store = (
        EmbeddedServer(World.load()),
        EmbeddedWeb(),
        Renderer.over_bytes(),
        ImageStore(tmp_path),
    )
    address = await server.start()
    fetcher = Fetcher(
        FetchConfig(), allow={host: Address(host=address.host, port=address.port) for host in web.hosts()}
    )
    config = AgentConfig(prompt="brief", tools=ToolsConfig(images_per_search=2, extract_chars=300))
    tools = Toolbox(
        search=web,
        images=web,
        reader=GuardedReader(fetcher=fetcher),
        fetcher=fetcher,
        store=store,
        config=config.tools,
    )
    answer = {
        "gen_prompt": 'the first reference image alone. caption "WARSAW"',
        "reference_images": [{"note": "Flag of Poland", "img_id": "IMG_001"}],
    }
    engine = ScriptedEngine(
        [
            call("search", queries=["polonium", "capital of Poland"]),
            call("browse", url="http://geography.mini.web/poland", query="capital"),
            call("browse", url="http://169.254.169.254/latest/meta-data", query="keys"),
            call("image_search", query="Flag of Poland"),
            f"<answer>{json.dumps(answer)}</answer>",
        ],
        renderer=renderer,
    )
    agent = Agent(engine=engine, tools=tools, renderer=renderer, config=config)
    try:
        trajectory = await agent.search(Task(id="t", prompt="Draw it.", target=None, meta={}), seed=1)
    finally:
        await tools.close()
        await server.stop()
    texts = [turn.result.text for turn in trajectory.turns if turn.result is not None]
    assert texts[0].startswith("results for: polonium\n1. Polonium | http://chemistry.mini.web/polonium\n")
    assert "Capital of Poland: Warsaw." in texts[1]
    assert texts[2] == "browse failed: address not allowed"
    assert "Flag of Poland is IMG_001" in texts[3]
    assert trajectory.outcome is Outcome.GROUNDED
    assert trajectory.grounding is not None
    reference = trajectory.grounding.references[0]
    assert store.get(reference.image).size == (128, 128)
    assert [view.width_px for turn in trajectory.turns for view in turn.images] == [64, 64]
    assert "http://geography.mini.web/poland" in trajectory.grounding.sources
