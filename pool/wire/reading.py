"""JSON-RPC messages as they come, and arguments as they go: halves of characters are what breaks both.

Servers written in JavaScript that cut a text in the middle of an emoji send `\\ud83d` without its other half. That is
no valid JSON text, but losing the whole answer for it would be worse than one U+FFFD.
"""

import re

from pydantic_core import from_json, to_json

from stoa.errors import BadInput

__all__ = ["check_sendable", "mend", "read_object"]

# Each escape from its backslash on, so that `\\ud83d` (an escaped backslash and letters) is not taken for one. What is
# whole is read over in one go: an answer may have millions of escapes.
_HALF = re.compile(
    rb"(?P<whole>(?:[^\\]++|\\[^u]|\\u(?:[^dD]|[dD][^89a-fA-F])"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+)"
    rb"(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})?",
    re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"
_MENDABLE = ("hex escape", "unicode code point")
MAX_HALVES = 100_000


def read_object(data: bytes | str) -> object:
    """What the JSON text says. Raises `ValueError` for what is none."""
    try:
        return from_json(data)
    except ValueError as error:
        if not any(word in str(error) for word in _MENDABLE):
            raise
        raw = data.encode() if isinstance(data, str) else data
        if not raw.lstrip().startswith(b"{"):
            raise
        mended = mend(raw.decode("utf-8", "replace").encode())
        if mended == raw:
            raise
    return from_json(mended)


def mend(data: bytes) -> bytes:
    """JSON text whose escapes are whole characters: a half becomes U+FFFD. More than `MAX_HALVES` are left."""
    return _HALF.sub(lambda part: part["whole"] + _REPLACEMENT if part["half"] else part["whole"], data, MAX_HALVES)


def check_sendable(value: object, what: str) -> None:
    """Raise `BadInput` for what cannot be written as JSON in UTF-8, before it costs anybody a connection."""
    try:
        to_json(value)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{what} cannot be sent: {str(error)[:200]}.", hint="Leave out halves of characters, and nest less deeply."
        ) from None
