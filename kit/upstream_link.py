"""The connection to a gateway: the kit's one door to the client side of MCP, over Streamable HTTP (2026-07-28).

One task opens the client at the first call, keeps it for all calls and closes it; when it breaks, the next call has it
opened again. What can go wrong below MCP is kept to one call next door (`kit.upstream_http`).
"""

import logging
from collections.abc import Mapping
from typing import Final, cast

import anyio
import mcp_types as types
from mcp.client import Client, ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue, TypeAdapter, ValidationError

import stoa
from kit.upstream_http import no_gateway, open_http
from stoa import errors
from stoa.tools import Block, Progress, ToolResult
from stoa.wire import MAX_MESSAGE_BYTES

__all__ = ["GatewayLink"]

ERA: Final = "2026-07-28"
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


class GatewayLink:
    """Whoever makes it runs `own` in a task. `shown` is what messages call the gateway.

    State: the open session if there is one, and three signals between callers and the owner task."""

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
                    open_http(socket=self._socket, token=self._token, shown=self._shown) as http,
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
                return no_gateway(self._shown)
            case code:
                return errors.Fault(f"The gateway answered {name} with the error {code}.")


def _by_name(tell: Progress | None) -> ProgressFnT | None:
    """The SDK names the arguments of its callback, our kind of it does not."""
    if tell is None:
        return None

    async def told(progress: float, total: float | None, message: str | None) -> None:
        await tell(progress, total, message)

    return told


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
