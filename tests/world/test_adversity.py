from __future__ import annotations

import io
import json
import re
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from PIL import Image, ImageChops

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.config.adversity import AdversityConfig
from gen_searcher.config.agent import AgentConfig, FetchConfig, ToolsConfig
from gen_searcher.config.load import load
from gen_searcher.data.tasks import load_tasks
from gen_searcher.errors import ConfigError
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.tools.canaries import canaries_in
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.types import Outcome
from gen_searcher.world import World
from gen_searcher.world.adversity import ORDERS, AdverseWorld, adverse_world
from gen_searcher.world.providers import EmbeddedWeb
from gen_searcher.world.relations import value_in
from gen_searcher.world.server import EmbeddedServer, page_html
from gen_searcher.world.tasks import write_tasks
from gen_searcher.world.teacher import FLAWLESS, Teacher

ALL = AdversityConfig(
    wrong_facts=0.3, conflicts=0.4, misleading_pictures=0.2, dead_links=0.1, slow_pages=0.1, slow_s=0.3, injections=0.25
)


def harmed(web: AdverseWorld, kind: str) -> dict[str, str]:
    return {harm.address: harm.detail for harm in web.ledger if harm.kind == kind}


def test_without_adversity_the_world_is_the_packages_own_and_nothing_is_on_the_ledger() -> None:
    web = adverse_world(AdversityConfig(seed=7, slow_s=3.0))
    assert web.world is World.load()
    assert (web.ledger, web.service.dead, web.service.slow, dict(web.orders)) == ((), frozenset(), frozenset(), {})


def test_each_dial_harms_its_share_and_nothing_else() -> None:
    sizes = {
        "wrong_facts": ("wrong fact", 9_777),
        "conflicts": ("conflict", 3_673),
        "misleading_pictures": ("misleading picture", 1_290),
        "dead_links": ("dead link", 4_775 + 1_290),
        "slow_pages": ("slow page", 4_775 + 1_290),
        "injections": ("injection", 4_775),
    }
    for dial, (kind, size) in sizes.items():
        counts = Counter(harm.kind for harm in adverse_world(AdversityConfig.model_validate({dial: 0.2})).ledger)
        assert list(counts) == [kind]
        assert counts[kind] / size == pytest.approx(0.2, abs=0.035), (dial, counts)


def test_a_higher_setting_keeps_what_a_lower_one_harms() -> None:
    low, high = (adverse_world(AdversityConfig(wrong_facts=share, dead_links=share)) for share in (0.05, 0.25))
    assert set(low.ledger) < set(high.ledger)
    other = adverse_world(AdversityConfig(wrong_facts=0.05, dead_links=0.05, seed=1))
    assert not set(low.ledger) <= set(other.ledger)


def test_pages_state_what_the_ledger_says_and_every_other_fact_as_it_is() -> None:
    web, true = adverse_world(AdversityConfig(wrong_facts=0.3)), World.load()
    marked = {(harm.address, *re.split(": | -> ", harm.detail)) for harm in web.ledger}
    wrong = {
        (page.id, relation, was, now)
        for page in true.pages.values()
        for (relation, was), (_, now) in zip(page.infobox, web.world.pages[page.id].infobox, strict=True)
        if was != now
    }
    assert wrong == {one for one in marked if len(one) == 4 and one[1] != "capital city"}
    for page_id, relation, _, now in wrong:
        page = web.world.pages[page_id]
        assert "." in now or value_in("\n".join(page.sentences), relation=relation, subject=page.title) == now


def test_a_rival_contradicts_exactly_one_fact_of_the_page_it_copies() -> None:
    web, true = adverse_world(AdversityConfig(conflicts=0.4)), World.load()
    rivals = [page for page in web.world.pages.values() if page.id not in true.pages]
    assert len(rivals) == len(web.ledger) > 1000
    for rival in rivals:
        first = true.pages[rival.id.removesuffix("--facts")]
        apart = [said for said in rival.sentences if said not in first.sentences]
        assert rival.title == first.title
        assert len(apart) == 1
        assert web.world.page_titled(first.title) == true.page_titled(first.title)


def test_no_page_says_that_it_was_harmed() -> None:
    web = adverse_world(ALL)
    telling = re.compile(r"wrong|harm|advers|rival|conflict|mislead|ledger", re.IGNORECASE)
    for harm in web.ledger[::40]:
        page = web.world.pages[harm.address.removesuffix(".webp")]
        true = World.load().pages.get(page.id)
        before = page_html(true, world=World.load()) if true else ""
        assert len(telling.findall(page_html(page, world=web.world))) <= len(telling.findall(before))


async def test_orders_stand_on_the_page_and_in_its_snippet_and_are_known_as_canaries() -> None:
    web = adverse_world(AdversityConfig(injections=1.0))
    assert set(web.orders) == set(World.load().pages)
    hits = await EmbeddedWeb(adversity=AdversityConfig(injections=1.0)).search("capital: Poland", limit=3)
    assert "Capital of Poland: Warsaw." in hits[0].snippet
    assert all(any(hit.snippet.endswith(order) for order in ORDERS) for hit in hits)
    assert all(canaries_in(order) for order in ORDERS)


async def test_the_server_serves_what_the_ledger_says() -> None:
    web = adverse_world(ALL)
    server = EmbeddedServer(web.world, service=web.service)
    at = await server.start()
    dead, slow = harmed(web, "dead link"), harmed(web, "slow page")
    pictures = harmed(web, "misleading picture")

    async def get(address: str) -> tuple[int, bytes]:
        site, _, slug = address.partition("/")
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{at.host}:{at.port}/{slug}", headers={"Host": f"{site}.mini.web"}) as response,
        ):
            return response.status, await response.read()

    try:
        for address in list(dead)[:5]:
            assert (await get(address))[0] == 404
        late = next(address for address in slow if address not in dead)
        began = time.monotonic()
        assert (await get(late))[0] == 200
        assert time.monotonic() - began >= 0.3
        for address in [one for one in pictures if one not in dead and one not in slow][:5]:
            status, body = await get(address)
            entity = next(one for one in World.load().entities.values() if f"{one.page_id}.webp" == address)
            served = Image.open(io.BytesIO(body)).convert("RGB")
            assert status == 200
            assert ImageChops.difference(served, World.load().picture(entity.id)).getbbox() is not None
            assert pictures[address].startswith(f"{entity.name} -> ")
    finally:
        await server.stop()


def test_only_the_embedded_world_can_be_made_adverse() -> None:
    with pytest.raises(ConfigError, match="adversity harms the embedded world only"):
        load(["search=serper", "adversity=mild"])
    assert load(["search=serper"]).search.search_plug == load(["search=serper"]).search.search


def test_the_providers_are_told_and_their_settings_change_with_the_dial() -> None:
    calm, harsh = (load([f"adversity={name}"]).search for name in ("none", "harsh"))
    assert dict(calm.search_plug.keywords) == {}
    for plug in (harsh.search_plug, harsh.images_plug):
        plug.check(at="search")
        assert isinstance(plug.build(), EmbeddedWeb)
        assert plug.keywords["adversity"] == harsh.adversity.model_dump(mode="json")


def test_the_ledger_is_written_where_the_run_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gen_searcher.commands.world import ledger

    assert ledger(load(["adversity=mild", f"run_dir='{tmp_path}/run'"])) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "adversity.jsonl").read_text().splitlines()]
    assert len(rows) == len(adverse_world(load(["adversity=mild"]).search.adversity).ledger)
    assert f"wrong fact: {sum(row['kind'] == 'wrong fact' for row in rows)}" in capsys.readouterr().out


async def full_marks(tmp_path: Path, setting: AdversityConfig) -> float:
    """Share of full marks of the flawless teacher; every trajectory must end with an answer."""
    web = adverse_world(setting)
    server = EmbeddedServer(web.world, service=web.service)
    at = await server.start()
    found, renderer = EmbeddedWeb(adversity=setting), Renderer.over_bytes()
    fetcher = Fetcher(FetchConfig(), allow={host: Address(host=at.host, port=at.port) for host in found.hosts()})
    store = ImageStore(tmp_path / "store")
    tools = ToolsConfig(hits_per_search=3, images_per_search=4)
    box = Toolbox(
        search=found,
        images=found,
        reader=GuardedReader(fetcher=fetcher),
        fetcher=fetcher,
        store=store,
        config=tools,
    )
    judge, scores = OfflineTextJudge(store=store), list[float]()
    try:
        for task in load_tasks(tmp_path / "train.jsonl", store):
            teacher = Teacher(task, renderer=renderer, flaws=FLAWLESS, seed=1)
            config = AgentConfig(prompt="brief", tools=tools)
            done = await Agent(engine=teacher, tools=box, renderer=renderer, config=config).search(task, seed=1)
            assert done.outcome is Outcome.GROUNDED, task.prompt
            scores.append((await judge.judge(task, done, None)).score)
    finally:
        await box.close()
        await server.stop()
    return sum(score == 1.0 for score in scores) / len(scores)


async def test_every_task_ends_at_every_setting_and_a_worse_web_costs_marks(tmp_path: Path) -> None:
    write_tasks(tmp_path, train=40, heldout=1, seed=2)
    none, mild, harsh = [
        await full_marks(tmp_path, load([f"adversity={name}"]).search.adversity.model_copy(update={"slow_s": 0.02}))
        for name in ("none", "mild", "harsh")
    ]
    assert none == 1.0
    assert none > mild > harsh
