"""Words and limits on the wire that both ends must agree on: the kit serves them, the pool speaks them."""

from typing import Final

__all__ = [
    "HOPS_KEY",
    "MAX_HOPS",
    "MAX_MESSAGE_BYTES",
    "PASS_KEY",
    "PING_SECONDS",
    "PING_TIMEOUT_SECONDS",
    "PRINCIPAL_KEY",
    "SECONDS_KEY",
    "SERVER_KEY",
    "WS_SUBPROTOCOL",
    "CloseCode",
]

MAX_MESSAGE_BYTES: Final = 16 * 2**20
"""Largest JSON-RPC message, in bytes, in either direction, on stdio, HTTP and WebSocket alike."""

PRINCIPAL_KEY: Final = "io.stoa/principal"
"""Key in `_meta` of a request: the signed assertion of who calls (`stoa.principal`)."""

HOPS_KEY: Final = "io.stoa/hops"
"""Key in `_meta` of a request: how many servers the call has already passed through."""

MAX_HOPS: Final = 4

PASS_KEY: Final = "io.stoa/pass"  # noqa: S105 - a key, no secret
"""Key in `_meta` of a request to a child of a pool: what the child shows to call other servers while it serves it."""

SERVER_KEY: Final = "io.stoa/server"
"""Key in `_meta` of a call that comes back from a child: the server that it is for."""

SECONDS_KEY: Final = "io.stoa/seconds"
"""Key in `_meta` of such a call: how long it may take, where the child has said so."""

WS_SUBPROTOCOL: Final = "mcp"
PING_SECONDS: Final = 30.0
PING_TIMEOUT_SECONDS: Final = 20.0


class CloseCode:
    """WebSocket close codes that Stoa uses (RFC 6455 section 7.4.1)."""

    NORMAL: Final = 1000
    GOING_AWAY: Final = 1001
    NO_SUBPROTOCOL: Final = 1002
    NOT_TEXT: Final = 1003
    REFUSED: Final = 1008
    TOO_BIG: Final = 1009
    FAULT: Final = 1011
