"""From raw results to our words: results, resources, completions. Pure; what is not in its right shape is a `Fault`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import JsonValue

from stoa.errors import Fault
from stoa.tools import Block, ToolResult

__all__ = ["ResourceContent", "completions", "resource_contents", "tool_result"]


@dataclass(frozen=True, slots=True)
class ResourceContent:
    """One part of a resource: `text`, or base64 in `data_base64`."""

    uri: str
    media_type: str | None
    text: str | None
    data_base64: str | None


def tool_result(result: Mapping[str, Any], *, server: str, protocol: str) -> ToolResult:
    if result.get("resultType") == "input_required":
        raise Fault(
            f"The server {server!r} asks for input in the middle of the call, and there is nobody here to give it.",
            hint="Use the tool through the gateway, from a client that can answer.",
        )
    content, is_error = result.get("content"), result.get("isError", False)
    if not isinstance(content, list) or not isinstance(is_error, bool):
        raise _malformed(server, protocol)
    return ToolResult(
        blocks=tuple(_block(block, server, protocol) for block in cast("list[object]", content)),
        structured=result.get("structuredContent"),
        is_error=is_error,
    )


def resource_contents(result: Mapping[str, Any], *, server: str, protocol: str) -> tuple[ResourceContent, ...]:
    contents = result.get("contents")
    if not isinstance(contents, list):
        raise _malformed(server, protocol)
    found: list[ResourceContent] = []
    for content in cast("list[object]", contents):
        part = _mapping(content)
        uri, text, blob = part.get("uri"), part.get("text"), part.get("blob")
        if not isinstance(uri, str) or not (isinstance(text, str) or isinstance(blob, str)):
            raise _malformed(server, protocol)
        found.append(ResourceContent(uri, _text(part.get("mimeType")), _text(text), _text(blob)))
    return tuple(found)


def completions(result: Mapping[str, Any], *, server: str, protocol: str) -> tuple[str, ...]:
    values = _mapping(result.get("completion")).get("values")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in cast("list[object]", values)):
        raise _malformed(server, protocol)
    return tuple(cast("list[str]", values))


def _block(block: object, server: str, protocol: str) -> Block:
    wire = _mapping(block)
    kind, text = wire.get("type"), wire.get("text")
    if not isinstance(kind, str) or (kind == "text" and not isinstance(text, str)):
        raise _malformed(server, protocol)
    return Block(kind=kind, text=text if kind == "text" and isinstance(text, str) else "", wire=wire)


def _malformed(server: str, protocol: str) -> Fault:
    return Fault(
        f"The server {server!r} answered with something that is not valid MCP {protocol}.",
        hint="Its makers have to mend it.",
    )


def _mapping(value: object) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
