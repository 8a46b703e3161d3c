"""Text from which a small tokenizer learns the world's words and the agent's language."""

from __future__ import annotations

from collections.abc import Iterator

from gen_searcher.world import canvas
from gen_searcher.world.families import FAMILIES
from gen_searcher.world.index import clip
from gen_searcher.world.relations import RELATIONS, picture_query
from gen_searcher.world.teacher import answer_text, call_text
from gen_searcher.world.world import World

REPEATS = 40
"""How often the forms of the language are said, so that they become whole tokens."""
WORDING_VARIANTS = 6


def tokenizer_corpus() -> Iterator[str]:
    """Pages as search results show them, then queries, calls and answers."""
    world = World.load()
    for page in world.pages.values():
        yield f"1. {page.title} | {page.url}\n{clip(' '.join(page.sentences[:3]), 200)}"
    for number, entity in enumerate(world.entities.values()):
        title = entity.name
        query = picture_query(title)
        shown = f"pictures for: {query}\n{title} is IMG_{number % 8 + 1:03d}"
        yield f"{shown}\n{call_text('image_search', {'query': query}, thought=f'look for {query}')}"
    for _ in range(REPEATS):
        for relation in RELATIONS.values():
            query = relation.query.partition("{")[0]
            yield f"results for: {query}\n{call_text('search', {'queries': [query]}, thought=f'find {query}')}"
        for layout in canvas.LAYOUTS:
            for style in canvas.STYLES:
                for variant in range(WORDING_VARIANTS):
                    words = canvas.wording(layout=layout, style=style, caption=" ", variant=variant)
                    yield answer_text(words, picks=[], thought="done")
        for family in FAMILIES.values():
            for wording in family.wordings:
                yield " ".join(wording)
