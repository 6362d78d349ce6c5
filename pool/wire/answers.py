"""From the SDK's types to ours: tools, results, resources. Pure."""

from dataclasses import dataclass
from typing import cast

import mcp_types as types
from pydantic import JsonValue

from pool.catalogue import ToolInfo
from stoa.tools import Block, ToolRef, ToolResult

__all__ = ["ResourceContent", "resource_contents", "tool_info", "tool_result"]


@dataclass(frozen=True, slots=True)
class ResourceContent:
    """One part of a resource: `text`, or base64 in `data_base64`."""

    uri: str
    media_type: str | None
    text: str | None
    data_base64: str | None


def tool_info(server: str, tool: types.Tool) -> ToolInfo:
    hints = tool.annotations or types.ToolAnnotations()
    read_only = hints.read_only_hint is True
    return ToolInfo(
        ref=ToolRef(server, tool.name),
        title=tool.title or hints.title or tool.name,
        description=tool.description or "",
        input_schema=cast("dict[str, JsonValue]", tool.input_schema),
        output_schema=cast("dict[str, JsonValue] | None", tool.output_schema),
        read_only=read_only,
        # The protocol gives these two a meaning only for tools that write.
        idempotent=read_only or hints.idempotent_hint is True,
        destructive=not read_only and hints.destructive_hint is not False,
        open_world=hints.open_world_hint is not False,
    )


def tool_result(result: types.CallToolResult) -> ToolResult:
    return ToolResult(
        blocks=tuple(_block(block) for block in result.content),
        structured=cast("JsonValue", result.structured_content),
        is_error=result.is_error,
    )


def resource_contents(result: types.ReadResourceResult) -> tuple[ResourceContent, ...]:
    return tuple(
        ResourceContent(
            uri=str(content.uri),
            media_type=content.mime_type,
            text=content.text if isinstance(content, types.TextResourceContents) else None,
            data_base64=content.blob if isinstance(content, types.BlobResourceContents) else None,
        )
        for content in result.contents
    )


def _block(block: types.ContentBlock) -> Block:
    return Block(
        kind=block.type,
        text=block.text if isinstance(block, types.TextContent) else "",
        wire=block.model_dump(by_alias=True, mode="json", exclude_none=True),
    )
