"""The other end of `kit.upstream`: serves `tools/call` to servers that a pool has started, on a socket of their own.

Two things are asked of a request: the token of the child that sends it, and the pass of the request that the child is
serving (`Ways`). Whatever else the child says of its caller, or of the way so far, is not looked at.
"""

import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NoReturn, Protocol, cast

import anyio
import mcp_types as types
import uvicorn
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import stoa
from kit.exchange import Exchanges, is_modern
from kit.failures import as_stoa_error, protocol_error
from kit.one_write import OneWriteProtocol
from stoa.errors import BadInput, Denied
from stoa.tools import ToolCall, ToolCaller, ToolRef, ToolResult
from stoa.wire import PASS_KEY, SECONDS_KEY, SERVER_KEY

__all__ = ["Ways", "serve_door"]

PATH: Final = "/mcp"
KEEP_ALIVE_SECONDS: Final = 75
MAX_CONNECTIONS: Final = 1000
LONGEST_SECONDS: Final = 24 * 3600.0

_TOKEN: Final = "stoa.token"  # noqa: S105 - a key of the scope


class Ways(Protocol):
    """Whoever knows the children and what each of them is serving."""

    def knows(self, token: str) -> bool: ...

    def enter(self, token: str, call_pass: str) -> AbstractContextManager[ToolCaller]:
        """Call on behalf of whoever made the request that the pass stands for, until that request ends.

        Raises `Denied` for a pass that this child was not given, or that has ended.
        """
        ...


async def serve_door(listener: socket.socket, ways: Ways) -> None:
    """Serve until cancelled. The socket is bound and listens; whoever made it closes it."""
    app = _Door(ways)
    runner = _Runner(
        uvicorn.Config(
            app,
            http=OneWriteProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
            limit_concurrency=MAX_CONNECTIONS,
        )
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app.exchanges.mind)
        try:
            await runner.serve(sockets=[listener])
        finally:
            for server in runner.servers:
                server.close()
            for connection in list(runner.server_state.connections):
                connection.transport.close()
        tasks.cancel_scope.cancel()


class _Runner(uvicorn.Server):
    """uvicorn without its signal handlers: whoever opened the pool hears the signals."""

    def capture_signals(self) -> AbstractContextManager[None]:  # pyright: ignore[reportIncompatibleMethodOverride]  # a generator there, the same to `with`
        return nullcontext()


class _Door:
    """The ASGI application."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        server: LowLevelServer[Any] = LowLevelServer("stoa", version=stoa.__version__, on_call_tool=_never)
        server.middleware[:] = [self._call]
        self.exchanges = Exchanges(server)

    def __repr__(self) -> str:
        return f"<Door {self.exchanges!r}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = _bearer(scope)
        if not self._ways.knows(token):
            await Response(status_code=401, headers={"www-authenticate": "Bearer"})(scope, receive, send)
        elif scope["path"] != PATH or not is_modern(scope):
            await Response(status_code=404)(scope, receive, send)
        else:
            scope[_TOKEN] = token
            await self.exchanges.serve(scope, receive, send, lifespan_state=None)

    async def _call(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method != "tools/call" or ctx.request is None:
            raise MCPError(types.METHOD_NOT_FOUND, f"{ctx.method} is not served here.")
        params = ctx.params or {}
        said = cast("object", params.get("_meta"))
        meta: Mapping[str, Any] = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        call_pass, seconds = meta.get(PASS_KEY), meta.get(SECONDS_KEY)
        try:
            with self._ways.enter(ctx.request.scope[_TOKEN], call_pass if isinstance(call_pass, str) else "") as caller:
                result = await caller.call_tool(
                    _read(params, meta.get(SERVER_KEY)),
                    timeout_seconds=min(max(0.0, seconds), LONGEST_SECONDS)
                    if isinstance(seconds, int | float)
                    else None,
                    progress=ctx.session.report_progress if "progressToken" in meta else None,
                )
                return _raw(result)
            raise Denied("The request that this was called for is over.")  # noqa: TRY301 - like any other failure
        except MCPError:
            raise
        except Exception as error:
            raise protocol_error(as_stoa_error(error, doing="a call on the way back")) from error


async def _never(ctx: Any, params: Any) -> NoReturn:
    raise AssertionError("answered before it comes here")


def _bearer(scope: Scope) -> str:
    found = [value for name, value in scope["headers"] if name == b"authorization"] if scope["type"] == "http" else []
    kind, _, token = found[0].decode("latin-1").partition(" ") if len(found) == 1 else ("", "", "")
    return token.strip() if kind.lower() == "bearer" else ""


def _read(params: Mapping[str, Any], server: object) -> ToolCall:
    name, arguments = params.get("name"), params.get("arguments")
    if not isinstance(name, str) or not isinstance(server, str) or not name.startswith(f"{server}_"):
        raise BadInput("The call does not say which server it is for.")
    if arguments is not None and not isinstance(arguments, dict):
        raise BadInput("`arguments` has to be an object.")
    given = cast("dict[str, JsonValue]", arguments or {})
    return ToolCall(ToolRef(server, name.removeprefix(f"{server}_")), given)


def _raw(result: ToolResult) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "content": [block.wire for block in result.blocks],
        "isError": result.is_error,
        "resultType": "complete",
    }
    return raw if result.structured is None else {**raw, "structuredContent": result.structured}
