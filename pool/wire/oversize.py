"""The answer to a request that is too big to be sent: made on our side, as if the server had refused it."""

import mcp_types as types
from mcp.shared.message import SessionMessage

from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["TOO_BIG", "too_big_to_send"]

TOO_BIG = -32600  # JSON-RPC's "invalid request"


def too_big_to_send(message: types.JSONRPCMessage, size: int) -> SessionMessage | ValueError:
    """What the session is told instead of an answer; a mere exception where nobody waits for one."""
    sentence = f"The request has {size} bytes; the limit is {MAX_MESSAGE_BYTES}."
    if isinstance(message, types.JSONRPCRequest):
        error = types.ErrorData(code=TOO_BIG, message=sentence)
        return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=message.id, error=error))
    return ValueError(sentence)
