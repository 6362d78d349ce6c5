"""A server object in this process: its handlers are called, nothing is written or read."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
from anyio.abc import TaskGroup
from mcp.server.lowlevel import Server
from mcp.server.runner import modern_on_request
from mcp.shared.dispatcher import CallOptions, OnRequest
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp.shared.transport_context import TransportContext

from pool.wire.failures import Lost, Refusal
from pool.wire.link import Wire
from pool.wire.question import PROGRESS, Question

__all__ = ["InProcessWire"]

INTERNAL_ERROR = -32603


class InProcessWire(Wire):
    """Enters the server's lifespan while it is open. Each request is served in a task of its own.

    A tool that sits in a thread cannot be cancelled; in the caller's own task it would hold it past every deadline.
    """

    def __init__(self, server: object) -> None:
        super().__init__()
        # MCPServer and the low-level server both end here; what they share is not public.
        self._server = cast("Server[Any]", getattr(server, "_lowlevel_server", server))
        self._handle: OnRequest | None = None
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<InProcessWire {self._server.name}>"

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with self._server.lifespan(self._server) as state, anyio.create_task_group() as tasks:
            self._handle, self._tasks = modern_on_request(self._server, state), tasks
            try:
                yield
            finally:
                self.lose("The connection was closed.")
                tasks.cancel_scope.cancel()

    async def _carry(
        self,
        question: Question,
        method: str,
        params: dict[str, Any],
        *,
        headers: Mapping[str, str] | None,
        is_cancellable: bool,
    ) -> dict[str, Any]:
        if self._tasks is None:
            raise Lost(self.explain(), sent=False)
        scope = anyio.CancelScope()
        self._tasks.start_soon(self._serve, question, method, params, scope)
        try:
            return await question.answered()
        finally:
            scope.cancel()

    async def tell(self, method: str, params: dict[str, Any]) -> None:
        """The revision that is spoken here has no notifications to a server."""

    async def _serve(self, question: Question, method: str, params: dict[str, Any], scope: anyio.CancelScope) -> None:
        assert self._handle is not None
        try:
            with scope:
                question.answer(await self._handle(_Exchange(question), method, params))
        except Exception as error:  # noqa: BLE001 - a handler's failure is an answer
            told = handler_exception_to_error_data(error)
            question.fail(
                Refusal(INTERNAL_ERROR, "Internal server error")
                if told is None
                else Refusal(told.code, told.message, data=told.data)
            )
        finally:
            question.fail(Lost("The connection was closed."))


class _Exchange:
    """What a handler sees of the request that it serves: the SDK's `DispatchContext`."""

    message_metadata = None
    can_send_request = False

    def __init__(self, question: Question) -> None:
        self._question = question
        self.transport = TransportContext(kind="direct", can_send_request=False)
        self.request_id = question.id
        self.cancel_requested = anyio.Event()

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        self._question.notice(method, params or {})

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self._question.notice(PROGRESS, {"progress": progress, "total": total, "message": message})
