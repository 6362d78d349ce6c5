"""Events of the handshake era over the limit. The SDK writes them, whatever their size; every other wire of ours has
the limit where it writes.

An answer is replaced by an error for its request. What is no answer is left out: nobody waits for a notification, and
a request of that size has nobody who could read it.
"""

import logging
import re
from typing import Final

import mcp_types as types
from starlette.types import Message, Send

from kit.duplex import guess_id
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["sieve"]

log = logging.getLogger(__name__)

ENDS_BYTES: Final = 4096
SPARE_BYTES: Final = 4096
"""What an event has around its message: its id, its name, the line ends."""

_DATA: Final = re.compile(rb"^data: ?", re.MULTILINE)
_ANSWER: Final = re.compile(rb'^\s*\{[^{}\[\]]{0,1024}?"(?:result|error)"\s*:')


def sieve(send: Send) -> Send:
    """The same `send`, which takes each event in one piece, as the SDK writes them."""

    async def send_sieved(message: Message) -> None:
        body = message.get("body", b"")
        if len(body) > MAX_MESSAGE_BYTES + SPARE_BYTES:
            message = {**message, "body": _instead_of(body)}
        await send(message)

    return send_sieved


def _instead_of(event: bytes) -> bytes:
    head, tail = event[:ENDS_BYTES], event[-ENDS_BYTES:].rstrip(b"\r\n")
    found = _DATA.search(head)
    start = found.end() if found is not None else 0
    message = head[start:]
    if _ANSWER.match(message) is None:
        log.warning("a message of %d bytes to a client is left out", len(event))
        return b": left out\r\n\r\n"
    said = f"The answer has {len(event) - start} bytes; a message may have {MAX_MESSAGE_BYTES}. Ask for less at a time."
    error = types.JSONRPCError(
        jsonrpc="2.0", id=guess_id(message, tail), error=types.ErrorData(code=types.INTERNAL_ERROR, message=said)
    )
    body = error.model_dump_json(by_alias=True, exclude_unset=True).encode()
    return head[:start] + body + (b"\r\n\r\n" if found is not None else b"")
