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


def document(number: int, sentences: int = 400) -> str:
    """Markdown of many different words; about 22 kB unless told otherwise."""
    sentence = "many different words such as {} fill this document. "
    return f"# Document {number}\n\n" + "".join(sentence.format(f"w{number}x{each}") for each in range(sentences))
