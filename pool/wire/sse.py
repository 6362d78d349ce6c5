"""The HTTP+SSE transport of 2024-11-05, through the SDK: one stream of events towards us, one POST for each message."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.shared._stream_protocols import (
    ReadStream,  # pyright: ignore[reportPrivateUsage] - the type of what sse_client gives
)
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from pool.redact import mask
from pool.spec import SseSpec
from pool.wire.failures import first_cause, let_in_hint
from pool.wire.http_pool import HttpPool
from pool.wire.peer import Peer
from stoa.errors import BadInput, Denied, StoaError, Unavailable

__all__ = ["SseWire"]

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 3600.0
"""A stream on which nothing comes for so long is given up."""


class SseWire(Peer):
    """The stream is the session: when it ends, the server has forgotten us."""

    def __init__(self, spec: SseSpec, *, server: str, pool: HttpPool, auth: httpx2.Auth | None = None) -> None:
        super().__init__()
        self._spec = spec
        self._server = server
        self._pool = pool
        self._auth = auth
        self._outbound: Any = None

    def __repr__(self) -> str:
        return f"<SseWire {self._server} {self._spec}>"

    @property
    def is_session(self) -> bool:
        return True

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        is_open = False
        try:
            async with (
                sse_client(
                    self._spec.url,
                    headers=dict(self._spec.headers),
                    timeout=CONNECT_SECONDS,
                    sse_read_timeout=SILENT_SECONDS,
                    httpx_client_factory=self._client,
                    auth=self._auth,
                ) as (inbound, outbound),
                anyio.create_task_group() as tasks,
            ):
                self._outbound = outbound
                self._start(tasks)
                tasks.start_soon(self._read, inbound)
                is_open = True
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        except Exception as error:
            if is_open:
                raise
            raise self._explain_refusal(first_cause(error)) from error

    def _client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        # Its own, because the SDK closes it; the TLS context, which is what costs, is the pool's.
        return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=self._pool.tls)

    async def _read(self, inbound: ReadStream[SessionMessage | Exception]) -> None:
        async for item in inbound:
            if isinstance(item, SessionMessage):
                self.traffic.received(0)  # the SDK does not say how long it was
                self._take(item.message.model_dump(by_alias=True, mode="json", exclude_unset=True))
        self.lose("It closed the stream of events.")

    async def _send(self, data: bytes) -> None:
        self.traffic.sent(len(data))
        try:
            await self._outbound.send(SessionMessage(jsonrpc_message_adapter.validate_json(data, by_name=False)))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.lose("It takes no more messages.")

    def _explain_refusal(self, error: BaseException) -> StoaError:
        if isinstance(error, StoaError):
            return error
        where = f"the server {self._server!r} at {self._spec}"
        if isinstance(error, httpx2.HTTPStatusError):
            status = error.response.status_code
            if status in (401, 403):
                return Denied(f"HTTP {status} from {where}.", hint=let_in_hint(self._spec, status, server=self._server))
            if status in (404, 405):
                return BadInput(
                    f"There is no stream of events at {self._spec} (server {self._server!r}): HTTP {status}.",
                    hint=f"Correct mcpServers.{self._server}.url, or take away its type.",
                )
            return Unavailable(f"HTTP {status} from {where}.")
        said = mask(str(error) or type(error).__name__, self._spec.secrets)
        return Unavailable(f"The server {self._server!r} cannot be reached at {self._spec}: {said}.")
