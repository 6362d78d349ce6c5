"""One open MCP session: what the pool asks of it, in our words. With `connect` and the transports, the door to mcp.

Any task may call; only the task that opened the session closes it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar, cast

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.client import Client
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import JsonValue, ValidationError

from pool.wire.answers import ResourceContent, resource_contents, tool_info, tool_result
from pool.catalogue import ToolInfo
from pool.wire.failures import Lost, Refusal
from stoa.errors import Fault
from stoa.tools import Progress, ToolResult

__all__ = ["HTTP_DETAIL", "Connection", "Meta", "read_failure"]

T = TypeVar("T")
Meta = Mapping[str, JsonValue]

MAX_PAGES = 100
MAX_TOOLS = 10_000

HTTP_DETAIL = "io.stoa/http"
"""Key in the data of errors that our own HTTP door makes up: status, sent, final, retry_after."""


class Connection:
    """`lost` is set once the session is of no more use; `explain` then says why, for people.

    `apart` is where questions run whose answers cannot be waited for in the caller's own task.
    """

    def __init__(
        self,
        client: Client,
        *,
        server: str,
        lost: anyio.Event,
        lose: Callable[[str], None],
        explain: Callable[[], str],
        apart: TaskGroup | None = None,
    ) -> None:
        self._client = client
        self._apart = apart
        self._server = server
        self._lose = lose
        self.lost = lost
        self.explain = explain
        info = client.server_info
        self.protocol = client.protocol_version
        self.is_modern = self.protocol in MODERN_PROTOCOL_VERSIONS
        self.server_name = info.name if info is not None else None
        self.server_version = info.version if info is not None else None

    def __repr__(self) -> str:
        return f"<Connection {self._server} {self.protocol}{' lost' if self.lost.is_set() else ''}>"

    async def call_tool(
        self, name: str, arguments: Mapping[str, JsonValue], *, meta: Meta, progress: Progress | None
    ) -> ToolResult:
        """Call and wait. Raises `Lost` or `Refusal`; leaving by cancellation tells the server."""
        # The SDK calls back by position; its protocol merely also names the parameters.
        callback = cast("ProgressFnT | None", progress)
        return tool_result(
            await self._ask(
                lambda: self._client.call_tool(
                    name, dict(arguments), progress_callback=callback, meta=_wire_meta(meta) if meta else None
                )
            )
        )

    async def list_tools(self) -> tuple[ToolInfo, ...]:
        """All pages. A server without tools has none."""
        if self._client.server_capabilities.tools is None and self._client.session.discover_result is None:
            return ()
        tools: list[ToolInfo] = []
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            try:
                page = await self._ask(lambda at=cursor: self._client.list_tools(cursor=at))
            except Refusal as refusal:
                if refusal.code == types.METHOD_NOT_FOUND:
                    return ()
                raise
            tools += [tool_info(self._server, tool) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                return tuple(tools)
            if cursor in seen or len(tools) > MAX_TOOLS:
                break
            seen.add(cursor)
        raise Refusal(types.INTERNAL_ERROR, "its list of tools does not end")

    async def read_resource(self, uri: str, *, meta: Meta) -> tuple[ResourceContent, ...]:
        return resource_contents(
            await self._ask(lambda: self._client.read_resource(uri, meta=_wire_meta(meta) if meta else None))
        )

    async def complete(self, template: str, argument: str, prefix: str, *, meta: Meta) -> tuple[str, ...]:
        """Suggestions for an argument of a resource template."""
        request = types.CompleteRequest(
            params=types.CompleteRequestParams(
                ref=types.ResourceTemplateReference(type="ref/resource", uri=template),
                argument=types.CompletionArgument(name=argument, value=prefix),
                _meta=_wire_meta(meta) if meta else None,
            )
        )
        result = await self._ask(lambda: self._client.session.send_request(request, types.CompleteResult))
        return tuple(result.completion.values)

    async def ping(self) -> None:
        """The cheapest question that both ends must answer."""
        session = self._client.session
        if self.is_modern:
            await self._ask(lambda: session.send_discover(self.protocol))
        else:
            await self._ask(lambda: session.send_request(types.PingRequest(), types.EmptyResult))

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The one place where the SDK's exceptions become ours."""
        if self.lost.is_set():
            raise Lost(self.explain(), sent=False)
        try:
            return await (question() if self._apart is None else _run_apart(self._apart, question))
        except MCPError as error:
            raise self._translate(error) from error
        except ValidationError as error:
            raise Fault(
                f"The server {self._server!r} answered with something that is not valid MCP {self.protocol}.",
                hint="Its makers have to mend it.",
            ) from error
        except RuntimeError as error:
            # The SDK says so when structured content does not fit the tool's output schema.
            raise Fault(
                f"The server {self._server!r} broke its own contract: {str(error)[:500]}",
                hint="Its makers have to mend it.",
            ) from error

    def _translate(self, error: MCPError) -> Lost | Refusal:
        failure = read_failure(error)
        if isinstance(failure, Refusal):
            return failure
        if failure.is_final:
            self._lose(failure.reason)
        if self.lost.is_set():
            return Lost(self.explain(), sent=failure.sent)
        return failure


async def _run_apart(tasks: TaskGroup, question: Callable[[], Awaitable[T]]) -> T:
    """Ask in a task of its own, so that whoever waits can leave at once.

    A server in this process runs in the task that asks; a tool of it that sits in a thread cannot be cancelled, and
    would hold its caller past every deadline.
    """
    done = anyio.Event()
    scope = anyio.CancelScope()
    answers: list[T] = []
    errors: list[Exception] = []

    async def run() -> None:
        try:
            with scope:
                answers.append(await question())
        except Exception as error:  # noqa: BLE001 - carried over to the caller, below
            errors.append(error)
        finally:
            done.set()

    tasks.start_soon(run)
    try:
        await done.wait()
    finally:
        scope.cancel()
    if errors:
        raise errors[0]
    if not answers:
        raise Lost("The connection was closed.")
    return answers[0]


def read_failure(error: MCPError) -> Lost | Refusal:
    """What an error of the SDK means: no answer will come, or the server said no."""
    data = cast("JsonValue", error.data)
    detail = data.get(HTTP_DETAIL) if isinstance(data, dict) else None
    if isinstance(detail, dict):
        return _read_http_failure(error.message, error.code, detail)
    # The SDK uses its codes also for answers it makes up itself; servers use them for whatever they like. So the
    # SDK's own sentences decide.
    if error.code == types.CONNECTION_CLOSED and error.message == "Connection closed":
        return Lost("The connection was closed.")
    if error.code == types.CONNECTION_CLOSED and error.message.startswith("SSE stream "):
        return Lost(f"The answer broke off: {error.message}.", is_final=False)
    if error.code == types.PARSE_ERROR and error.message.startswith(("Failed to parse JSON", "Failed to parse SSE")):
        return Lost(f"The answer cannot be read: {error.message.partition(': ')[2][:300]}.", is_final=False)
    if error.code == types.INVALID_REQUEST and error.message == "Session terminated":
        return Lost("The server no longer knows our session.", sent=False)
    return Refusal(error.code, error.message, data=data)


def _read_http_failure(message: str, code: int, detail: Mapping[str, JsonValue]) -> Lost | Refusal:
    status, retry_after = detail.get("status"), detail.get("retry_after")
    if isinstance(status, int):
        seconds = float(retry_after) if isinstance(retry_after, int | float) else None
        return Refusal(code, message, status=status, retry_after=seconds)
    return Lost(message, sent=detail.get("sent") is not False, is_final=detail.get("final") is True)


def _wire_meta(meta: Meta) -> types.RequestParamsMeta:
    # An open TypedDict: other keys are what `_meta` is for.
    return cast("types.RequestParamsMeta", dict(meta))
