"""The block of YAML or TOML that may stand before a Markdown text. It is kept, and it is never a heading."""

import re

__all__ = ["front_matter_end", "front_title"]

_MAX_CHARACTERS = 65_536
_CLOSING = {fence: re.compile(rf"^(?:{re.escape(fence)}|\.\.\.)[ \t]*$", re.MULTILINE) for fence in ("---", "+++")}
_FIRST_LINE = re.compile(r"\s*(?:[\w\"'.-]+\s*[:=]|#)")
_TITLE = re.compile(r"^title[ \t]*[:=](.{1,1000})", re.MULTILINE | re.IGNORECASE)


def front_matter_end(text: str) -> int:
    """Where the block at the start (`---` or `+++` around it) ends, 0 when there is none."""
    closing = _CLOSING.get(text[:3])
    if closing is None or text[3:4] not in ("\n", "\r"):
        return 0
    end = closing.search(text, 4, _MAX_CHARACTERS)
    return end.end() if end is not None and _FIRST_LINE.match(text, 4, end.start()) else 0


def front_title(text: str) -> str | None:
    """The title that the block gives."""
    title = _TITLE.search(text, 0, front_matter_end(text))
    return (title.group(1).strip().strip("\"'") or None) if title is not None else None
