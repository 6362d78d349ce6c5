"""A server of the handshake era that asks back, logs, and lets resources be subscribed to. Run: `python asking.py`."""

from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import (
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    ListToolsResult,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    PaginatedRequestParams,
    SubscribeRequestParams,
    TextContent,
    Tool,
    UnsubscribeRequestParams,
)
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

NAMES = ("ask_name", "log", "touch", "subscribed", "wait")
SUBSCRIBED: set[str] = set()


def build() -> Server[Any]:
    return Server(
        "asking",
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
    )


async def serve(read: Any, write: Any) -> None:
    """Over two streams, as a server that has never heard of `server/discover`."""
    server = build()
    into, known = anyio.create_memory_object_stream[SessionMessage | Exception](0)

    async def pick() -> None:
        async with into:
            async for item in read:
                message = item.message if isinstance(item, SessionMessage) else None
                if isinstance(message, JSONRPCRequest) and message.method == "server/discover":
                    error = ErrorData(code=METHOD_NOT_FOUND, message="Method not found")
                    await write.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=message.id, error=error)))
                else:
                    await into.send(item)

    async with read, write, known, anyio.create_task_group() as tasks:
        tasks.start_soon(pick)
        await server.run(known, write, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def list_tools(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name=name, input_schema={"type": "object"}) for name in NAMES])


async def subscribe(ctx: ServerRequestContext[Any], params: SubscribeRequestParams) -> EmptyResult:
    SUBSCRIBED.add(str(params.uri))
    return EmptyResult()


async def unsubscribe(ctx: ServerRequestContext[Any], params: UnsubscribeRequestParams) -> EmptyResult:
    SUBSCRIBED.discard(str(params.uri))
    return EmptyResult()


async def call_tool(ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
    said = params.name
    if params.name == "ask_name":
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        try:
            answer = await ctx.session.elicit_form("Who is it?", schema, ctx.request_id)
            said = f"{answer.action} {answer.content}"
        except Exception as error:  # noqa: BLE001 - that is what is to be seen
            said = f"refused: {error}"
    elif params.name == "log":
        told = LoggingMessageNotification(params=LoggingMessageNotificationParams(level="info", data="hello"))
        await ctx.session.send_notification(told, related_request_id=ctx.request_id)
    elif params.name == "touch":
        await ctx.session.send_resource_updated("test://one")
    elif params.name == "subscribed":
        said = ",".join(sorted(SUBSCRIBED))
    elif params.name == "wait":
        await anyio.sleep(30)
    return CallToolResult(content=[TextContent(text=said)])


def sse_app() -> Starlette:
    """The same over HTTP+SSE."""
    transport = SseServerTransport("/messages/")

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        async with transport.connect_sse(scope, receive, send) as (read, write):
            await serve(read, write)

    routes = [Route("/sse", endpoint=_Endpoint(stream)), Mount("/messages/", app=transport.handle_post_message)]
    return Starlette(routes=routes)


class _Endpoint:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def main() -> None:
    async with stdio_server() as (read, write):
        await serve(read, write)


if __name__ == "__main__":
    anyio.run(main)
