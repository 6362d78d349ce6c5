"""From raw results to our words: results, resources, completions. Pure; what is not in its right shape is a `Fault`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY  # pyright: ignore[reportMissingTypeStubs] - it has none
from pydantic import JsonValue

from stoa.errors import Fault
from stoa.tools import Block, ToolResult

__all__ = ["OutputCheck", "ResourceContent", "completions", "resource_contents", "tool_result"]


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


class OutputCheck:
    """Whether structured content fits a tool's output schema; the schema is looked through once."""

    def __init__(self, schema: Mapping[str, JsonValue]) -> None:
        self._trouble = ""
        kind = validator_for(dict(schema))
        try:
            kind.check_schema(dict(schema))
        except SchemaError as error:
            self._trouble = f"its output schema is no JSON schema: {error.message[:300]}"
        # A registry of its own: the library would fetch whatever address a schema refers to.
        self._validator = kind(dict(schema), registry=REGISTRY)

    def check(self, result: ToolResult, *, server: str, tool: str) -> None:
        """Raise `Fault` where the server breaks its own contract. A failure of the tool promises nothing."""
        if result.is_error:
            return
        trouble = self._trouble or self._find(result.structured)
        if trouble:
            raise Fault(
                f"The server {server!r} broke its own contract for {tool!r}: {trouble}",
                hint="Its makers have to mend it.",
            )

    def _find(self, structured: JsonValue) -> str:
        if structured is None:
            return "it promises structured content and gave none"
        try:
            error = next(iter(self._validator.iter_errors(structured)), None)
        except Exception as failure:  # noqa: BLE001 - references that lead nowhere raise errors of several libraries
            return f"its output schema cannot be used: {str(failure)[:300]}"
        return "" if error is None else f"its answer does not fit: {error.message[:300]}"


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
