"""Where there are too many tools to show a model: three tools that find, describe and call the others."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from gateway.names import OWN_TOOLS
from gateway.options import Options
from gateway.view import Listed, View
from kit.failures import near
from pool.finding.findable import findable
from pool.finding.index import ToolIndex
from stoa.embedder import Embedder
from stoa.errors import BadInput, NotFound

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "Search"]

log = logging.getLogger(__name__)

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 50
MAX_DESCRIPTION_CHARACTERS: Final = 400
"""Of each tool that is found; `describe_tool` says all."""

EMBED_AT_ONCE: Final = 32

_READS: Final = {"readOnlyHint": True, "idempotentHint": True, "destructiveHint": False, "openWorldHint": False}

_SEARCH: Final[dict[str, Any]] = {
    "name": "search_tools",
    "title": "Find tools",
    "description": "Find tools by what they do. Gives their names, what each is for and its arguments; "
    "`describe_tool` tells more of one, `call_tool` calls it.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What is to be done, e.g. 'find passages about rate limits'."},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_LIMIT,
                "default": DEFAULT_LIMIT,
                "description": "How many tools at most, e.g. 5.",
            },
            "server": {"type": "string", "description": "Only tools of this server, e.g. 'content'."},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    "annotations": {"title": "Find tools", **_READS},
}
_DESCRIBE: Final[dict[str, Any]] = {
    "name": "describe_tool",
    "title": "Describe a tool",
    "description": "Everything about one tool: its whole description and the schema of its arguments.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "As search_tools gives it, e.g. 'content_search_documents'."}
        },
        "required": ["name"],
        "additionalProperties": False,
    },
    "annotations": {"title": "Describe a tool", **_READS},
}
_CALL: Final[dict[str, Any]] = {
    "name": "call_tool",
    "title": "Call a tool",
    "description": "Call a tool that search_tools has found. The answer is that of the tool.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "As search_tools gives it, e.g. 'content_search_documents'."},
            "arguments": {"type": "object", "description": 'The tool\'s arguments, e.g. {"query": "rate limit"}.'},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
    # What it does depends on the tool, so everything has to be expected of it.
    "annotations": {
        "title": "Call a tool",
        "readOnlyHint": False,
        "idempotentHint": False,
        "destructiveHint": True,
        "openWorldHint": True,
    },
}


class Search:
    """State: an index of the tools of the last view that was searched. With an embedder, vectors are made beside the
    searches; until they are there, words decide."""

    def __init__(self, options: Options, *, tasks: Callable[[], TaskGroup], embedder: Embedder | None = None) -> None:
        self._options = options
        self._tasks = tasks
        self._index = ToolIndex((), embedder=embedder)
        self._indexed: tuple[Listed, ...] = ()
        self._lock = anyio.Lock()

    def __repr__(self) -> str:
        return f"<Search {self._index!r}>"

    def is_on(self, view: View) -> bool:
        return not self._options.list_all and len(view.tools) > self._options.search_above

    def listed(self, visible: Sequence[Listed], *, is_modern: bool) -> list[dict[str, Any]]:
        """What is listed instead of all tools."""
        pinned = set(self._options.pinned)
        shown = [tool.wire(is_modern=is_modern) for tool in visible if tool.name in pinned]
        return [_SEARCH, _DESCRIBE, _CALL, *(tool for tool in shown if tool["name"] not in OWN_TOOLS)]

    async def answer(self, name: str, arguments: Mapping[str, Any], visible: Sequence[Listed]) -> dict[str, Any]:
        """The result of one of the two that only tell. Raises `BadInput`, `NotFound`."""
        if name == "describe_tool":
            tool = _find(_text(arguments, "name", _DESCRIBE), visible)
            return _result({"server": tool.server, **tool.wire(is_modern=True)})
        query = _text(arguments, "query", _SEARCH)
        limit = arguments.get("limit", DEFAULT_LIMIT)
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
            raise BadInput(f"The argument 'limit' has to be a whole number from 1 to {MAX_LIMIT}.")
        server = arguments.get("server")
        known = {tool.server for tool in visible}
        if server is not None and (not isinstance(server, str) or server not in known):
            there = f"There are: {', '.join(sorted(known))}." if known else ""
            raise NotFound(f"There is no server {str(server)[:64]!r} with tools.", hint=there)
        chosen = [tool for tool in visible if server is None or tool.server == server]
        found = await self._search(query, limit, chosen)
        return _result({"tools": [_summary(tool) for tool in found], "searched": len(chosen)})

    @staticmethod
    def unfold(arguments: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The call that is inside a `call_tool`. Raises `BadInput`."""
        name, inner = _text(arguments, "name", _CALL), arguments.get("arguments")
        if inner is not None and not isinstance(inner, dict):
            raise BadInput("The argument 'arguments' has to be an object.", hint="describe_tool says what is in it.")
        return name, {**params, "name": name, "arguments": cast("dict[str, Any]", inner or {})}

    async def _search(self, query: str, limit: int, chosen: Sequence[Listed]) -> list[Listed]:
        async with self._lock:
            whole = tuple(chosen)
            if whole != self._indexed:
                tools = [findable(tool.name, _said(tool), tool.info.input_schema) for tool in whole]
                self._index = await anyio.to_thread.run_sync(self._index.updated, tools)
                self._indexed = whole
                if self._index.missing:
                    self._tasks().start_soon(self._embed, self._index)
            index = self._index
        found = await anyio.to_thread.run_sync(index.search, query, limit)
        return [whole[each.position] for each in found]

    async def _embed(self, index: ToolIndex) -> None:
        """Make the vectors, a few at a time, for as long as the index is in use."""
        try:
            while index is self._index and await anyio.to_thread.run_sync(index.embed_missing, EMBED_AT_ONCE):
                pass
        except Exception:
            log.exception("tools are searched by words only: vectors cannot be made")


def _find(name: str, visible: Sequence[Listed]) -> Listed:
    found = next((tool for tool in visible if tool.name == name), None)
    if found is None:
        close = near(name, [tool.name for tool in visible])
        raise NotFound(f"Unknown tool: {name!r}.", hint=f"Did you mean {' or '.join(close)}?" if close else "")
    return found


def _said(tool: Listed) -> str:
    return f"{tool.info.title}. {tool.info.description}" if tool.info.title else tool.info.description


def _summary(tool: Listed) -> dict[str, Any]:
    schema = tool.info.input_schema
    properties = schema.get("properties")
    required = schema.get("required")
    arguments = list(properties) if isinstance(properties, dict) else []
    said = tool.info.description
    return {
        "name": tool.name,
        "server": tool.server,
        "title": tool.info.title,
        "description": said if len(said) <= MAX_DESCRIPTION_CHARACTERS else said[:MAX_DESCRIPTION_CHARACTERS] + "…",
        "arguments": arguments,
        "required": required if isinstance(required, list) else [],
        "read_only": tool.info.read_only,
    }


def _text(arguments: Mapping[str, Any], key: str, tool: Mapping[str, Any]) -> str:
    value = arguments.get(key)
    if not isinstance(value, str) or not value.strip():
        takes = ", ".join(tool["inputSchema"]["properties"])
        raise BadInput(f"The argument {key!r} is missing.", hint=f"{tool['name']} takes: {takes}.")
    return value


def _result(structured: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
    return {"content": [{"type": "text", "text": text}], "structuredContent": structured, "isError": False}
