"""HTTP to a gateway: failures below MCP as JSON-RPC errors of the one call that they happened to.

The SDK's client goes down, with all calls that run, when an exchange fails under it. So what fails here is turned into
an answer: the errors of ours travel in its `data`, in the form that our servers write them on the wire.
"""

import json
import logging
from collections.abc import AsyncIterator
from typing import Final

import httpx2
import mcp_types as types
from pydantic import ValidationError

from stoa.errors import BadInput, Denied, Fault, OutcomeUnknown, StoaError, Unavailable
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["no_gateway", "open_http"]

CONNECT_SECONDS: Final = 5.0
KEEP_ALIVE_SECONDS: Final = 4.0
"""Less than uvicorn's 5: a connection that the gateway is about to close is not used again."""

MAX_ERROR_BYTES: Final = 64 * 2**10

log = logging.getLogger(__name__)


def open_http(*, socket: str | None, token: str | None, shown: str) -> httpx2.AsyncClient:
    """A client for one gateway, on a unix socket if one is given; whoever enters it closes it."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    limits = httpx2.Limits(max_connections=None, keepalive_expiry=KEEP_ALIVE_SECONDS)
    # No read timeout: each call has its own deadline, and closing the stream is how a call is cancelled.
    timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
    transport = _Contained(httpx2.AsyncHTTPTransport(uds=socket, limits=limits), shown)
    return httpx2.AsyncClient(headers=headers, timeout=timeout, transport=transport)


def no_gateway(shown: str) -> StoaError:
    """What to say of something that listens there and does not speak MCP."""
    return BadInput(f"What listens at {shown} is no gateway of ours.", hint="Set STOA_UPSTREAM to its /mcp address.")


class _Contained(httpx2.AsyncBaseTransport):
    """Turns failed exchanges into answers that carry a JSON-RPC error, so that they end one call and no more."""

    def __init__(self, inner: httpx2.AsyncHTTPTransport, shown: str) -> None:
        self._inner = inner
        self._shown = shown

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._inner.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.LocalProtocolError) as error:
            log.info("The gateway at %s cannot be reached: %r", self._shown, error)
            return _answer(_away(self._shown))
        except httpx2.TransportError as error:
            log.info("The gateway at %s broke off: %r", self._shown, error)
            return _answer(_broke_off(self._shown))
        if response.status_code < 400:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            # An event stream may be long; there the SDK limits each event.
            is_json = response.headers.get("content-type", "").startswith("application/json")
            response.stream = _Watched(response.stream, most_bytes=MAX_MESSAGE_BYTES if is_json else None)
            return response
        return await self._refused(response)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _refused(self, response: httpx2.Response) -> httpx2.Response:
        body = b""
        try:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            async for part in _Watched(response.stream, most_bytes=MAX_ERROR_BYTES):
                body += part
        except httpx2.StreamError:
            pass
        finally:
            await response.aclose()
        if _is_rpc(body):
            return httpx2.Response(response.status_code, headers={"content-type": "application/json"}, content=body)
        return _answer(_meaning(response, self._shown))


class _Watched(httpx2.AsyncByteStream):
    """An answer's bytes, up to our limit. Breaking off is told as an error that the SDK keeps to its call."""

    def __init__(self, inner: httpx2.AsyncByteStream, *, most_bytes: int | None) -> None:
        self._inner = inner
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        try:
            async for part in self._inner:
                seen += len(part)
                if self._most_bytes is not None and seen > self._most_bytes:
                    raise httpx2.StreamError("too much")
                yield part
        except httpx2.TransportError as error:
            raise httpx2.StreamError("broken off") from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_rpc(body: bytes) -> bool:
    try:
        return isinstance(types.jsonrpc_message_adapter.validate_json(body), types.JSONRPCError)
    except ValidationError:
        return False


def _meaning(response: httpx2.Response, shown: str) -> StoaError:
    """What an HTTP status without a JSON-RPC error says (RFC 9110 section 15)."""
    match response.status_code:
        case 401 | 403:
            return Denied(f"The gateway at {shown} does not let us in.", hint="Set STOA_UPSTREAM_TOKEN to its token.")
        case 404 | 405 | 406 | 421:
            return no_gateway(shown)
        case 413:
            return BadInput("The call is too large for the gateway.")
        case 429 | 503:
            wait = response.headers.get("retry-after", "")
            return Unavailable(
                f"The gateway at {shown} is too busy.", retry_after=float(wait) if wait.isdecimal() else None
            )
        case 502 | 504:
            return _broke_off(shown)
        case status:
            return Fault(f"The gateway at {shown} answered with the status {status}.")


def _away(shown: str) -> StoaError:
    hint = "Start it with `stoa gateway` or `stoa up`, or set STOA_UPSTREAM to where it listens."
    return Unavailable(f"The gateway at {shown} cannot be reached.", hint=hint, retry_after=1.0)


def _broke_off(shown: str) -> StoaError:
    return OutcomeUnknown(f"The gateway at {shown} broke off before it answered.")


def _answer(error: StoaError) -> httpx2.Response:
    fields = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "retry_after_seconds": error.retry_after,
    }
    body = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": types.INTERNAL_ERROR, "message": error.message, "data": fields},
    }
    return httpx2.Response(502, headers={"content-type": "application/json"}, content=json.dumps(body).encode())
