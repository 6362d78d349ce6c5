"""The connection to a gateway: the kit's one door to the client side of MCP, over Streamable HTTP (2026-07-28).

One task opens the client at the first call, keeps it for all calls and closes it; when it breaks, the next call has it
opened again. What goes wrong below MCP is turned into a JSON-RPC error of the one call that it happened to, because the
SDK's client would otherwise go down with all calls that run.
"""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

import anyio
import httpx2
import mcp_types as types
from mcp.client import Client, ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue, TypeAdapter, ValidationError

import stoa
from stoa import errors
from stoa.tools import Block, Progress, ToolResult
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["GatewayLink", "open_link"]

ERA: Final = "2026-07-28"
CONNECT_SECONDS: Final = 5.0
KEEP_ALIVE_SECONDS: Final = 4.0
"""Less than uvicorn's 5: a connection that the gateway is about to close is not used again."""

MAX_ERROR_BYTES: Final = 64 * 2**10

ERRORS: Final[Mapping[str, type[errors.StoaError]]] = {
    error.code: error
    for error in (
        errors.BadInput,
        errors.NotFound,
        errors.Denied,
        errors.Conflict,
        errors.Unavailable,
        errors.OutcomeUnknown,
        errors.Fault,
    )
}

_RESULT: Final[TypeAdapter[types.CallToolResult | types.InputRequiredResult]] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_link(url: str, *, socket: str | None, token: str | None, shown: str) -> AsyncGenerator["GatewayLink"]:
    """A link for as long as the context lasts; `shown` is what messages call the gateway."""
    link = GatewayLink(url, socket=socket, token=token, shown=shown)
    async with anyio.create_task_group() as group:
        group.start_soon(link.own)
        try:
            yield link
        finally:
            link.close()


class GatewayLink:
    """State: the open session if there is one, and three signals between callers and the owner task."""

    def __init__(self, url: str, *, socket: str | None, token: str | None, shown: str) -> None:
        self._url = url
        self._socket = socket
        self._token = token
        self._shown = shown
        self._session: ClientSession | None = None
        self._wanted = anyio.Event()
        self._opened = anyio.Event()
        self._closing = anyio.Event()

    def __repr__(self) -> str:
        state = "closed" if self._closing.is_set() else "open" if self._session is not None else "not open"
        return f"<GatewayLink to {self._shown}: {state}>"

    def close(self) -> None:
        self._closing.set()
        self._wanted.set()

    async def own(self) -> None:
        """Open, keep and close the client, always in this one task."""
        while True:
            await self._wanted.wait()
            if self._closing.is_set():
                return
            try:
                async with (
                    self._http() as http,
                    Client(
                        streamable_http_client(self._url, http_client=http, max_sse_event_size=MAX_MESSAGE_BYTES),
                        mode=ERA,
                        cache=None,
                        client_info=types.Implementation(name="stoa", version=stoa.__version__),
                    ) as client,
                ):
                    self._session = client.session
                    self._opened.set()
                    await self._closing.wait()
            except Exception:  # the owner outlives whatever breaks the client; calls in flight are told by it
                log.warning("The connection to the gateway at %s broke", self._shown, exc_info=True)
            finally:
                self._session = None
                self._opened.set()
                self._wanted, self._opened = anyio.Event(), anyio.Event()
                if self._closing.is_set():
                    self._wanted.set()

    async def call(
        self,
        name: str,
        arguments: dict[str, object],
        *,
        meta: dict[str, object],
        timeout_seconds: float,
        progress: Progress | None,
    ) -> ToolResult:
        """`tools/call`, in words of ours. A tool's own failure is a result; everything else raises a `StoaError`."""
        params = types.CallToolRequestParams(
            name=name, arguments=arguments, _meta=cast("types.RequestParamsMeta", meta)
        )
        session = await self._open()
        try:
            # Not `Client.call_tool`: that lists all tools first, to check a result which the gateway has checked.
            result = await session.send_request(
                types.CallToolRequest(params=params),
                _RESULT,
                request_read_timeout_seconds=timeout_seconds,
                progress_callback=_by_name(progress),
            )
        except MCPError as error:
            raise self._as_ours(error, name, timeout_seconds) from error
        except ValidationError as error:
            raise errors.Fault(f"The gateway's answer to {name} is no result.") from error
        if isinstance(result, types.InputRequiredResult):
            raise errors.Unavailable(f"{name} asks a person something; a server that calls it cannot answer.")
        return _result(result)

    async def _open(self) -> ClientSession:
        if self._session is None and not self._closing.is_set():
            self._wanted.set()
            await self._opened.wait()
        if self._session is None:
            raise errors.Unavailable(f"The connection to the gateway at {self._shown} is closed.")
        return self._session

    def _http(self) -> httpx2.AsyncClient:
        headers = {} if self._token is None else {"authorization": f"Bearer {self._token}"}
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=KEEP_ALIVE_SECONDS)
        # No read timeout: each call has its own deadline, and closing the stream is how a call is cancelled.
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
        transport = _Contained(httpx2.AsyncHTTPTransport(uds=self._socket, limits=limits), self._shown)
        return httpx2.AsyncClient(headers=headers, timeout=timeout, transport=transport)

    def _as_ours(self, error: MCPError, name: str, timeout_seconds: float) -> errors.StoaError:
        """What a JSON-RPC error means to whoever called: by its data where we wrote it, else by its code."""
        data: object = error.error.data
        fields: Mapping[str, object] = cast("Mapping[str, object]", data) if isinstance(data, dict) else {}
        kind = ERRORS.get(str(fields.get("code")))
        if kind is not None:
            hint, wait = fields.get("hint"), fields.get("retry_after_seconds")
            return kind(
                str(fields.get("message") or error.error.message),
                hint=hint if isinstance(hint, str) else "",
                retry_after=wait if isinstance(wait, int | float) else None,
            )
        match error.error.code:
            case types.REQUEST_TIMEOUT:
                return errors.OutcomeUnknown(f"{name} was called and has not answered for {timeout_seconds:g} s.")
            case types.CONNECTION_CLOSED | types.PARSE_ERROR:
                return errors.OutcomeUnknown(f"{name} was called and the connection to {self._shown} broke.")
            case types.INVALID_PARAMS:
                return errors.NotFound(error.error.message)
            case types.METHOD_NOT_FOUND | types.INVALID_REQUEST | types.UNSUPPORTED_PROTOCOL_VERSION:
                return _no_gateway(self._shown)
            case code:
                return errors.Fault(f"The gateway answered {name} with the error {code}.")


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
            response.stream = _Watched(response.stream)
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

    def __init__(self, inner: httpx2.AsyncByteStream, *, most_bytes: int | None = None) -> None:
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


def _by_name(tell: Progress | None) -> ProgressFnT | None:
    """The SDK names the arguments of its callback, our kind of it does not."""
    if tell is None:
        return None

    async def told(progress: float, total: float | None, message: str | None) -> None:
        await tell(progress, total, message)

    return told


def _is_rpc(body: bytes) -> bool:
    try:
        return isinstance(types.jsonrpc_message_adapter.validate_json(body), types.JSONRPCError)
    except ValidationError:
        return False


def _meaning(response: httpx2.Response, shown: str) -> errors.StoaError:
    """What an HTTP status without a JSON-RPC error says (RFC 9110 section 15)."""
    match response.status_code:
        case 401 | 403:
            return errors.Denied(
                f"The gateway at {shown} does not let us in.", hint="Set STOA_UPSTREAM_TOKEN to its token."
            )
        case 404 | 405 | 406 | 421:
            return _no_gateway(shown)
        case 413:
            return errors.BadInput("The call is too large for the gateway.")
        case 429 | 503:
            wait = response.headers.get("retry-after", "")
            return errors.Unavailable(
                f"The gateway at {shown} is too busy.", retry_after=float(wait) if wait.isdecimal() else None
            )
        case 502 | 504:
            return _broke_off(shown)
        case status:
            return errors.Fault(f"The gateway at {shown} answered with the status {status}.")


def _away(shown: str) -> errors.StoaError:
    hint = "Start it with `stoa gateway` or `stoa up`, or set STOA_UPSTREAM to where it listens."
    return errors.Unavailable(f"The gateway at {shown} cannot be reached.", hint=hint, retry_after=1.0)


def _broke_off(shown: str) -> errors.StoaError:
    return errors.OutcomeUnknown(f"The gateway at {shown} broke off before it answered.")


def _no_gateway(shown: str) -> errors.StoaError:
    return errors.BadInput(
        f"What listens at {shown} is no gateway of ours.", hint="Set STOA_UPSTREAM to its /mcp address."
    )


def _answer(error: errors.StoaError) -> httpx2.Response:
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


def _result(result: types.CallToolResult) -> ToolResult:
    return ToolResult(
        blocks=tuple(_block(block) for block in result.content),
        structured=cast("JsonValue", result.structured_content),
        is_error=bool(result.is_error),
    )


def _block(block: types.ContentBlock) -> Block:
    text = block.text if isinstance(block, types.TextContent) else ""
    if isinstance(block, types.EmbeddedResource) and isinstance(block.resource, types.TextResourceContents):
        text = block.resource.text
    return Block(block.type, text, block.model_dump(by_alias=True, mode="json", exclude_none=True))
