"""Serves the embedded world over HTTP on loopback: pages as HTML, pictures as WebP, by Host header."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from html import escape

from aiohttp import web

from gen_searcher.world.adversity import PICTURE, PROMPT, Service
from gen_searcher.world.world import DOMAIN, WebPage, World

LOOPBACK = "127.0.0.1"
STOP_GRACE_S = 1.0
"""Longest wait for answers under way when the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where the server listens."""

    host: str
    port: int


class EmbeddedServer:
    """One HTTP server for all hosts of the world."""

    def __init__(self, world: World, *, service: Service = PROMPT) -> None:
        """Nothing listens before `start`; `service` says which addresses are dead or slow."""
        self._world = world
        self._service = service
        self._pictures = {f"{entity.page_id}{PICTURE}": entity.id for entity in world.entities.values()}
        self._runner: web.AppRunner | None = None

    async def start(self) -> ServerAddress:
        """Listen on a free port. Returns once connections are taken."""
        if self._runner is not None:
            raise RuntimeError("the embedded server has been started already")
        app = web.Application()
        app.router.add_get("/{slug}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_GRACE_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return ServerAddress(host=str(host), port=int(port))

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        host = request.host.partition(":")[0].lower()
        key = f"{host.removesuffix(f'.{DOMAIN}')}/{request.match_info['slug']}"
        if not host.endswith(f".{DOMAIN}"):
            return web.Response(status=404, text="no such site")
        if key in self._service.slow:
            await asyncio.sleep(self._service.slow_s)
        if key in self._service.dead:
            return web.Response(status=404, text="no such page")
        page = self._world.pages.get(key)
        if page is not None:
            return web.Response(text=page_html(page, world=self._world), content_type="text/html", charset="utf-8")
        entity = self._pictures.get(key)
        if entity is not None:
            return web.Response(body=self._world.picture_file(entity), content_type="image/webp")
        return web.Response(status=404, text="no such page")


def page_html(page: WebPage, *, world: World) -> str:
    """The page as a browser gets it."""
    title = escape(page.title)
    figure = ""
    if page.entity:
        entity = world.entities[page.entity]
        name = escape(entity.name)
        figure = f'<figure><img src="{entity.picture_url}" alt="{name}"><figcaption>{name}</figcaption></figure>'
    facts = "\n".join(f"<p>{escape(sentence)}</p>" for sentence in page.sentences)
    rows = "\n".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in page.infobox)
    linked = [(name, world.page_titled(name)) for name in page.links]
    links = "\n".join(
        f'<li><a href="{target.url}">{escape(name)}</a></li>' for name, target in linked if target is not None
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><article><h1>{title}</h1>
{figure}
{facts}
</article>
<aside><table>{rows}</table></aside>
<nav><ul>{links}</ul></nav>
<footer>Sources and licences: {escape(page.licence)}.</footer>
</body></html>
"""
