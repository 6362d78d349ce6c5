"""`tools/call` without FastMCP's dispatch: the same tool objects and checks, at a fraction of the work per call.

What FastMCP prepares anew for every call (argument adapter, injected parameters, result conversion) is prepared once
per tool here. Tools that ask for FastMCP's `Context` or dependencies run by FastMCP's own `Tool.run`.
"""

import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import anyio.to_thread
import mcp_types as types
from fastmcp import FastMCP
from fastmcp.exceptions import ValidationError as FastMCPValidationError
from fastmcp.server.context import Context
from fastmcp.server.dependencies import bind_request_context
from fastmcp.tools import FunctionTool, Tool
from fastmcp.tools.base import InputRequiredToolResult, ToolResult
from fastmcp.utilities.types import get_cached_typeadapter
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, TypeAdapter, ValidationError

from kit.call import current_call
from kit.failures import as_stoa_error, explain_arguments, failed_result, unknown
from stoa.errors import StoaError

__all__ = ["CallTool", "PreparedTool", "prepare", "wants_headers"]


@dataclass(frozen=True, slots=True)
class PreparedTool:
    """A tool with what every call of it needs. `validate` checks arguments and gives the body to await."""

    tool: Tool
    scope: str | None
    validate: Callable[[Any], Awaitable[Any]] | None = None
    returns: type[BaseModel] | None = None
    has_headers: bool = False


def prepare(tool: Tool, *, scope: str | None) -> PreparedTool:
    if not isinstance(tool, FunctionTool):
        return PreparedTool(tool, scope, has_headers=wants_headers(tool))
    parameters = inspect.signature(tool.fn).parameters
    if tool.timeout is not None or set(parameters) != set(tool.parameters.get("properties", ())):
        return PreparedTool(tool, scope, has_headers=wants_headers(tool))
    adapter: TypeAdapter[Any] = get_cached_typeadapter(_as_async(tool.fn))
    returns = cast("object", tool.return_type)
    if isinstance(returns, type) and issubclass(returns, BaseModel):
        return PreparedTool(tool, scope, adapter.validate_python, returns, wants_headers(tool))
    return PreparedTool(tool, scope, adapter.validate_python, has_headers=wants_headers(tool))


def wants_headers(tool: Tool) -> bool:
    """Whether the schema sends arguments as HTTP headers, too (SEP-2243)."""
    return '"x-mcp-header"' in json.dumps(tool.parameters)


class CallTool:
    """The handler. `prepared` is kept by whoever registers tools; tools unknown to it are looked up in FastMCP."""

    def __init__(self, fastmcp: FastMCP[Any], prepared: Mapping[str, PreparedTool]) -> None:
        self._fastmcp = fastmcp
        self._prepared = prepared

    def __repr__(self) -> str:
        return f"<CallTool: {len(self._prepared)} tools prepared>"

    async def __call__(self, ctx: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> HandlerResult:
        tool = self._prepared.get(params.name) or await self._find(params.name)
        arguments = params.arguments or {}
        try:
            if tool.scope is not None:
                current_call().principal.require(tool.scope)
            if tool.validate is not None:
                result = _result(tool, await _run(tool, arguments))
            else:
                result = _normal(await self._run_in_context(ctx, tool.tool, arguments))
        except MCPError:
            raise
        except StoaError as error:
            return failed_result(error)
        except Exception as error:  # noqa: BLE001  # the door of all tools: whatever one raises ends here
            return failed_result(as_stoa_error(error, doing=f"tool {params.name!r}"))
        if isinstance(result, types.InputRequiredResult) and ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(
                types.INVALID_PARAMS,
                f"The tool {params.name!r} asks for input in a way that {ctx.protocol_version} does not have.",
            )
        return result

    async def _find(self, name: str) -> PreparedTool:
        tool = await self._fastmcp.get_tool(name)
        if tool is None:
            known = {*self._prepared, *(tool.name for tool in await self._fastmcp.list_tools(run_middleware=False))}
            raise unknown("tool", name, sorted(known))
        return prepare(tool, scope=None)

    async def _run_in_context(
        self, ctx: ServerRequestContext[Any, Any], tool: Tool, arguments: dict[str, Any]
    ) -> ToolResult:
        with bind_request_context(ctx):
            async with Context(fastmcp=self._fastmcp, session=ctx.session):
                try:
                    return await tool.run(arguments)
                except FastMCPValidationError as error:
                    if isinstance(error.__cause__, ValidationError):
                        raise explain_arguments(error.__cause__, tool.parameters) from error
                    raise


async def _run(tool: PreparedTool, arguments: dict[str, Any]) -> Any:
    assert tool.validate is not None
    try:
        body = tool.validate(arguments)
    except ValidationError as error:
        raise explain_arguments(error, tool.tool.parameters) from error
    return await body


def _result(tool: PreparedTool, value: Any) -> HandlerResult:
    """A tool's value as MCP writes it: models and text directly, everything else by FastMCP's rules."""
    if tool.returns is not None and type(value) is tool.returns:
        structured = value.model_dump(mode="json", by_alias=True)
        say = getattr(value, "as_text", None)
        text = say() if say is not None else json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
        return _complete(text) | {"structuredContent": structured}
    if isinstance(value, str) and tool.tool.output_schema is None:
        return _complete(value)
    if isinstance(value, types.InputRequiredResult):
        return value
    return _normal(tool.tool.convert_result(value))


def _complete(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": False, "resultType": "complete"}


def _normal(result: ToolResult) -> HandlerResult:
    if isinstance(result, InputRequiredToolResult):
        return result.input_required
    whole = result.to_mcp_result()
    if isinstance(whole, types.CallToolResult):
        return whole
    return types.CallToolResult(content=result.content, structured_content=result.structured_content)


def _as_async(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """The function itself when it is a coroutine function, else one that runs it in a worker thread."""
    if inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    async def in_thread(*args: Any, **kwargs: Any) -> Any:
        return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs))

    return in_thread
