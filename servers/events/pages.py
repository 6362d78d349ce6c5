"""Cursors of this server: sealed together with what was asked, so that none is good for another question."""

import hashlib
import json

from pydantic import JsonValue

from kit.call import Call
from stoa.errors import BadInput

__all__ = ["Asked", "open_number", "open_word", "seal_page"]

Asked = list[object]
"""The arguments that the next page has to come with again."""


def seal_page(call: Call, kind: str, asked: Asked, place: int | str) -> str:
    return call.seal_cursor(kind, [_digest(asked), place])


def open_number(call: Call, kind: str, asked: Asked, cursor: str) -> int:
    """Where to go on. Raises `BadInput` for a cursor of another question."""
    place = _open(call, kind, asked, cursor)
    if not isinstance(place, int):
        raise _other()
    return place


def open_word(call: Call, kind: str, asked: Asked, cursor: str) -> str:
    """The same for pages that go on after a name."""
    place = _open(call, kind, asked, cursor)
    if not isinstance(place, str):
        raise _other()
    return place


def _open(call: Call, kind: str, asked: Asked, cursor: str) -> JsonValue:
    match call.open_cursor(kind, cursor):
        case [str(digest), place] if digest == _digest(asked):
            return place
        case _:
            raise _other()


def _other() -> BadInput:
    return BadInput(
        "The cursor belongs to another question.",
        hint="Send the other arguments as they were, or start again without a cursor.",
    )


def _digest(asked: Asked) -> str:
    # Questions can be longer than a cursor may be.
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
