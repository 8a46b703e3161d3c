"""How far the embedded world misbehaves: one dial per kind of trouble."""

from __future__ import annotations

from pydantic import Field

from gen_searcher.config.base import Config


class AdversityConfig(Config):
    """Shares between 0 and 1; everything at 0 is the world as it ships.

    What is harmed depends on `seed` alone: whatever is harmed at a low setting of a dial is harmed at every higher one.
    """

    wrong_facts: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the facts that their page states wrongly: the value is that of another subject."""
    conflicts: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the pages with facts that have a rival: a second page of the same title that contradicts one fact."""
    misleading_pictures: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the pictures that show something else of their kind than their title says."""
    dead_links: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the addresses, of pages and of pictures, that are still listed and answer 404."""
    slow_pages: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the addresses, of pages and of pictures, that answer only after `slow_s`."""
    slow_s: float = Field(default=1.0, gt=0.0, le=60.0)
    """Seconds that a slow address takes. More than `search.fetch.total_timeout_s` makes it an outage."""
    injections: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the pages that give orders to whoever reads them for a model; their snippets do too."""
    seed: int = 0
    """Which facts, pages and pictures are harmed, and how."""

    @property
    def is_on(self) -> bool:
        """Whether anything is harmed at all."""
        return any(
            (
                *(self.wrong_facts, self.conflicts, self.misleading_pictures),
                *(self.dead_links, self.slow_pages, self.injections),
            )
        )
