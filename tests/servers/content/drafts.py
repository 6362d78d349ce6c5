"""Documents ready to be stored, made from Markdown."""

import hashlib

from servers.content.chunks import split
from servers.content.store import Draft


def draft(
    markdown: str, *, name: str | None = None, title: str = "A title", given: frozenset[str] = frozenset()
) -> Draft:
    return Draft(
        name=name,
        title=title,
        media_type="text/markdown",
        sha256=hashlib.sha256(markdown.encode()).hexdigest(),
        markdown=markdown,
        chunks=split(markdown),
        given=given,
    )
