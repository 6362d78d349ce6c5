"""The documentation that every installation has: the descriptions of the distributions beside it.

One document for each distribution: name, version and summary as a heading block, then the long description as it was
published (Markdown, reStructuredText or text).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import Distribution, distributions

__all__ = ["InstalledDocument", "document", "installed"]

_OURS = "stoa-mcp"
_SUFFIXES = {"text/markdown": ".md", "text/x-rst": ".rst", "text/plain": ".txt"}


@dataclass(frozen=True, slots=True)
class InstalledDocument:
    """`name` is the distribution's own name; `file_name` is the same for every version, so that a
    newer one replaces it: `installed/rich.md`."""

    name: str
    version: str
    file_name: str
    media_type: str
    text: str

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


def installed(found: Iterable[Distribution] | None = None) -> tuple[InstalledDocument, ...]:
    """The documents of all distributions that can be imported here, by name; those without a description are left out.

    A name that stands twice on the path counts once: the first is the one that Python imports. Stoa itself is left out:
    its description quotes the questions that are asked of the others.
    """
    seen: dict[str, InstalledDocument | None] = {}
    for each in distributions() if found is None else found:
        metadata: Message = each.metadata  # pyright: ignore[reportAssignmentType]  # a Message behind a protocol
        name = metadata.get("Name") or ""
        key = re.sub(r"[-_.]+", "-", name).lower()
        if name and key not in seen and key != _OURS:
            seen[key] = document(metadata)
    return tuple(seen_one for _, seen_one in sorted(seen.items()) if seen_one is not None)


def document(metadata: Message) -> InstalledDocument | None:
    """The document of one distribution's metadata (core metadata 2.1); None where it describes nothing."""
    name, version = str(metadata.get("Name", "")), str(metadata.get("Version", ""))
    summary = _known(metadata.get("Summary"))
    body = metadata.get_payload()
    description = _known(body if isinstance(body, str) else None) or _known(metadata.get("Description"))
    if not summary and not description:
        return None
    # "text/markdown; charset=UTF-8; variant=GFM"; without a type it is reStructuredText by the specification, but
    # most of those that say nothing are plain enough to be read either way.
    media_type = str(metadata.get("Description-Content-Type") or "text/x-rst").partition(";")[0].strip().lower()
    if media_type not in _SUFFIXES:
        media_type = "text/plain"
    title = f"{name} {version}"
    match media_type:
        case "text/markdown":
            head = f"# {title}\n\n{summary}\n"
        case "text/x-rst":
            head = f"{'=' * len(title)}\n{title}\n{'=' * len(title)}\n\n{summary}\n"
        case _:
            head = f"{title}\n\n{summary}\n"
    text = f"{head}\n{description}\n" if description else head
    return InstalledDocument(name, version, f"installed/{name}{_SUFFIXES[media_type]}", media_type, text)


def _known(text: object) -> str:
    """The text without blank ends; old tools write UNKNOWN where there is none."""
    stripped = str(text or "").strip()
    return "" if stripped == "UNKNOWN" else stripped
