"""MCP over Streamable HTTP: the SDK's client over one shared httpx2 client per pool, with a guard in between.

The guard is needed because the SDK lets one failed request take down the whole session, hides HTTP status codes and
follows redirects within an origin. It turns whatever goes wrong with one request into a JSON-RPC error of that request
(with details under `HTTP_DETAIL`), refuses redirects, and keeps the message limit.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import mcp_types as types
from mcp.client._transport import TransportStreams  # pyright: ignore[reportPrivateUsage] - the type of a transport
from mcp.client.streamable_http import streamable_http_client
from pydantic import JsonValue

from pool.wire.connection import HTTP_DETAIL
from pool.wire.link import LinkedTransport
from pool.wire.reading import Mender
from pool.redact import mask
from pool.spec import HttpSpec
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["HttpPool", "HttpTransport"]

CONNECT_SECONDS = 10.0
WRITE_SECONDS = 30.0
GOODBYE_SECONDS = 2.0
MAX_ERROR_BYTES = 2**16

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)
_TIMEOUT = httpx2.Timeout(connect=CONNECT_SECONDS, read=None, write=WRITE_SECONDS, pool=CONNECT_SECONDS)
"""Reading has no limit of its own: an answer may take as long as the caller's deadline allows."""


class HttpPool:
    """The one httpx2 client (and TLS context: 21 ms of CPU each) of a pool; made when first needed."""

    def __init__(self, *, max_connections: int) -> None:
        self._max_connections = max_connections
        self._client: httpx2.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"<HttpPool {self._max_connections} connections, {'open' if self._client else 'not used'}>"

    def client(self) -> httpx2.AsyncClient:
        if self._client is None:
            # httpx2's own default keeps 20 connections alive and would reopen the others for each call.
            limits = httpx2.Limits(
                max_connections=self._max_connections, max_keepalive_connections=self._max_connections
            )
            self._client = httpx2.AsyncClient(limits=limits, timeout=_TIMEOUT, follow_redirects=False)
        return self._client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


class HttpTransport(LinkedTransport):
    """One member's session over the shared client; its headers and cookies are its own."""

    def __init__(self, spec: HttpSpec, *, server: str, pool: HttpPool) -> None:
        super().__init__()
        self._spec = spec
        self._server = server
        self._pool = pool

    def __repr__(self) -> str:
        return f"<HttpTransport {self._server} {self._spec}>"

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[TransportStreams]:
        guard = _Guard(self._pool.client(), self._spec)
        async with (
            httpx2.AsyncClient(transport=guard, headers=dict(self._spec.headers), timeout=_TIMEOUT) as client,
            streamable_http_client(self._spec.url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES) as streams,
        ):
            yield streams


class _Guard(httpx2.AsyncBaseTransport):
    def __init__(self, shared: httpx2.AsyncClient, spec: HttpSpec) -> None:
        self._shared = shared
        self._spec = spec

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if int(request.headers.get("content-length", 0)) > MAX_MESSAGE_BYTES:
            return self._made_up(f"The request is larger than {MAX_MESSAGE_BYTES >> 20} MiB.", status=413)
        if request.method == "DELETE":  # the goodbye of a session; nobody waits long for that
            request.extensions["timeout"] = httpx2.Timeout(GOODBYE_SECONDS).as_dict()
        try:
            response = await self._shared.send(request, stream=True, follow_redirects=False)
        except _NOT_SENT as error:
            return self._made_up(f"{self._spec} cannot be reached: {_say(error)}.", sent=False, final=True)
        except httpx2.PoolTimeout:
            return self._made_up(f"All connections to {self._spec} are busy.", sent=False, final=False)
        except httpx2.TransportError as error:
            return self._made_up(f"{self._spec} did not answer: {_say(error)}.", sent=True, final=False)
        if response.next_request is not None:
            await response.aclose()
            target = response.next_request.url.copy_with(userinfo=b"", query=None, fragment=None)
            return self._made_up(
                f"{self._spec} redirects to {target}; redirects are refused.", status=response.status_code
            )
        # 404 is left to the SDK, which knows whether it means a session that has ended.
        if request.method == "POST" and response.status_code >= 400 and response.status_code != 404:
            return await self._refused(response)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Bounded(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """The shared client is not ours to close."""

    async def _refused(self, response: httpx2.Response) -> httpx2.Response:
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ERROR_BYTES:
                    break
        except httpx2.TransportError:
            pass  # the status says enough
        finally:
            await response.aclose()
        if _is_json_rpc_error(body):
            return httpx2.Response(
                response.status_code, headers={"content-type": "application/json"}, content=bytes(body)
            )
        return self._made_up(
            f"{self._spec} answered with HTTP {response.status_code} {response.reason_phrase}".rstrip() + ".",
            status=response.status_code,
            retry_after=_seconds(response.headers.get("retry-after")),
        )

    def _made_up(self, message: str, **detail: JsonValue) -> httpx2.Response:
        """An answer of ours in place of the server's. CONNECTION_CLOSED is the code; the detail is what counts."""
        error = {"code": -32000, "message": mask(message, self._spec.secrets), "data": {HTTP_DETAIL: detail}}
        return httpx2.Response(502, json={"jsonrpc": "2.0", "id": None, "error": error})


class _Bounded(httpx2.AsyncByteStream):
    """A body up to the limit. `StreamError` is what the SDK turns into an error of that one request."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        # Events are limited one by one by the SDK; a stream of them may be long.
        self._is_limited = not response.headers.get("content-type", "").lower().startswith("text/event-stream")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        mender = None if self._response.headers.get("content-encoding") else Mender()
        try:
            async for chunk in self._response.aiter_raw():
                received += len(chunk)
                if self._is_limited and received > MAX_MESSAGE_BYTES:
                    raise httpx2.StreamError(f"it is larger than {MAX_MESSAGE_BYTES >> 20} MiB")
                yield chunk if mender is None else mender.feed(chunk)
            if mender is not None:
                yield mender.rest()
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the connection broke: {_say(error)}") from error

    async def aclose(self) -> None:
        await self._response.aclose()


def _is_json_rpc_error(body: bytes | bytearray) -> bool:
    try:
        return isinstance(types.jsonrpc_message_adapter.validate_json(bytes(body), by_name=False), types.JSONRPCError)
    except ValueError:
        return False


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
