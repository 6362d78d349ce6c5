"""JSON-RPC messages as they come, and arguments as they go: halves of characters are what breaks both.

Servers written in JavaScript that cut a text in the middle of an emoji send `\\ud83d` without its other half. That is
no valid JSON text, but losing the whole answer for it would be worse than one U+FFFD.
"""

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, cast

import mcp_types as types
from mcp_types.methods import validate_server_result
from pydantic import JsonValue, ValidationError
from pydantic_core import to_json

from stoa.errors import BadInput

__all__ = ["Mender", "check_sendable", "mend", "read_message"]

_log = logging.getLogger(__name__)

MAX_TOOLS = 1000
"""Longer lists are not looked through one by one."""

_ERAS: Final[Mapping[str, Mapping[str, JsonValue]]] = {
    "2025-11-25": {},
    "2026-07-28": {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"},
}

# Each escape from its backslash on, so that `\\ud83d` (an escaped backslash and letters) is not taken for one.
_ESCAPE = re.compile(
    rb"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)
_ESCAPE_SO_FAR = re.compile(
    rb"(?P<open>\\(?:u(?:[0-9a-fA-F]{0,3}|[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?))?\Z)|"
    + _ESCAPE.pattern,
    re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"


def read_message(data: bytes | str) -> types.JSONRPCMessage:
    """The message. Raises `ValueError` for what is none."""
    try:
        return _without_malformed_tools(types.jsonrpc_message_adapter.validate_json(data, by_name=False))
    except ValueError:
        raw = data.encode() if isinstance(data, str) else data
        if not raw.lstrip().startswith(b"{"):
            raise
        mended = mend(raw.decode("utf-8", "replace").encode())
        if mended == raw:
            raise
    return _without_malformed_tools(types.jsonrpc_message_adapter.validate_json(mended, by_name=False))


def _without_malformed_tools(message: types.JSONRPCMessage) -> types.JSONRPCMessage:
    """The SDK refuses a whole list of tools for one that is not valid; the others are still of use."""
    if not isinstance(message, types.JSONRPCResponse):
        return message
    tools = cast("JsonValue", message.result.get("tools"))
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS or _are_tools(tools):
        return message
    good: list[JsonValue] = []
    for tool in tools:
        if _are_tools([tool]):
            good.append(tool)
        else:
            name = tool.get("name") if isinstance(tool, dict) else None
            _log.warning("A server lists a tool that is not valid MCP; it is left out: %.80r", name)
    return message.model_copy(update={"result": {**message.result, "tools": good}})


def _are_tools(tools: list[JsonValue]) -> bool:
    """Valid in one of the two eras; in the other's, the SDK finds out."""
    for version, more in _ERAS.items():
        with suppress(ValidationError):
            validate_server_result("tools/list", version, {"tools": tools, **more})
            return True
    return False


def mend(data: bytes) -> bytes:
    """JSON text whose escapes are whole characters: a half becomes U+FFFD."""
    return _ESCAPE.sub(lambda escape: _REPLACEMENT if escape["half"] is not None else escape[0], data)


class Mender:
    """`mend` for a text that comes in pieces, as bodies over HTTP do. The length stays the same."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What can be passed on; an escape that is not complete waits for the next piece."""
        data, self._held = self._held + chunk, b""
        return _ESCAPE_SO_FAR.sub(self._mend, data)

    def rest(self) -> bytes:
        return self._held

    def _mend(self, escape: re.Match[bytes]) -> bytes:
        if escape["open"] is not None:
            self._held = escape[0]
            return b""
        return _REPLACEMENT if escape["half"] is not None else escape[0]


def check_sendable(value: object, what: str) -> None:
    """Raise `BadInput` for what cannot be written as JSON in UTF-8, before it costs anybody a connection."""
    try:
        to_json(value)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{what} cannot be sent: {str(error)[:200]}.", hint="Leave out halves of characters, and nest less deeply."
        ) from None
