"""The small web that ships with the package: pages, pictures, tasks, teacher."""

from gen_searcher.world.world import Entity, WebPage, World

__all__ = ["Entity", "WebPage", "World"]
