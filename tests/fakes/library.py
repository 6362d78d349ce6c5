"""A small MCP server in this process: it finds, shows, adds and breaks things, and keeps what it was asked to do."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from pydantic import JsonValue

from pool.spec import GroupSpec, InProcessSpec

__all__ = ["Arguments", "Failed", "Library", "Tool"]

Arguments = Mapping[str, JsonValue]

TEXT = "A lock is held by one process at a time. To lock a file, call acquire() on it. Release it when you are done."
QUERY: dict[str, JsonValue] = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


class Failed(Exception):
    """What a tool raises to answer with `isError`, in the words of our own servers."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Tool:
    """`answer` takes the arguments and gives a structured result, or raises `Failed`."""

    name: str
    answer: Callable[[Arguments], dict[str, JsonValue] | Awaitable[dict[str, JsonValue]]]
    read_only: bool = True
    schema: Mapping[str, JsonValue] = field(default_factory=lambda: QUERY)


def search(arguments: Arguments) -> dict[str, JsonValue]:
    if not arguments.get("query"):
        raise Failed("bad_input", "The argument 'query' is missing.")
    hit: dict[str, JsonValue] = {"document_id": "d1", "title": "filelock", "source": "filelock.md", "passage": TEXT}
    other: dict[str, JsonValue] = {"document_id": "d2", "title": "portalocker", "passage": "Locks with timeouts."}
    return {"hits": [{**hit, "start": 40, "end": 40 + len(TEXT)}, {**other, "start": 0, "end": 20}]}


class Library:
    """`calls` are the tools that ran, in order."""

    def __init__(self, *more: Tool, name: str = "library") -> None:
        adding = Tool("add_document", lambda _: {"id": "d3"}, read_only=False)
        self.name = name
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._tools = {tool.name: tool for tool in (adding, Tool("search_documents", search), *more)}

    def group(self, *, trusted: bool = True) -> GroupSpec:
        server: Server[Any] = Server(self.name, on_list_tools=self._list, on_call_tool=self._call)
        return GroupSpec(self.name, (InProcessSpec(server),), trusted=trusted)

    async def _list(
        self, context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=f"Does {tool.name}.",
                    input_schema=dict(tool.schema),
                    annotations=types.ToolAnnotations(read_only_hint=tool.read_only),
                )
                for tool in self._tools.values()
            ]
        )

    async def _call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        arguments = dict(params.arguments or {})
        self.calls.append((params.name, arguments))
        try:
            answer = self._tools[params.name].answer(arguments)
            structured = await answer if inspect.isawaitable(answer) else answer
        except Failed as error:
            detail = {"code": error.code, "message": str(error), "hint": "", "retryable": False}
            text = types.TextContent(text=str(error))
            return types.CallToolResult(content=[text], structured_content=detail, is_error=True)
        return types.CallToolResult(content=[types.TextContent(text="done")], structured_content=structured)
