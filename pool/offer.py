"""What a server offers, as a value: tools, prompts, resources and templates as the server wrote them. Pure.

Also what makes two replicas the same version: everything in their tools that a caller relies on.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import JsonValue
from pydantic_core import to_json

from pool.catalogue import ToolInfo
from stoa.tools import ToolRef

__all__ = ["Offer", "Raw", "fingerprint", "read_tool", "read_tools"]

Raw = Mapping[str, Any]
"""A prompt, resource or template as it came over the wire; it is handed on, not understood."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What one server offers. `tools` keep what was written in `ToolInfo.wire`.

    `is_stale`: the server was up, is away or slow now, and this is what it offered last. `protocol` is the revision
    spoken with it, `capabilities` what it declared in the handshake.
    """

    tools: tuple[ToolInfo, ...] = ()
    prompts: tuple[Raw, ...] = ()
    resources: tuple[Raw, ...] = ()
    templates: tuple[Raw, ...] = ()
    instructions: str | None = None
    capabilities: Raw = field(default_factory=dict[str, Any])
    server_name: str | None = None
    server_version: str | None = None
    protocol: str = ""
    is_stale: bool = False

    def tool(self, name: str) -> ToolInfo | None:
        return next((tool for tool in self.tools if tool.ref.tool == name), None)


def read_tools(server: str, described: Iterable[Raw]) -> tuple[ToolInfo, ...]:
    """The tools in the server's order. What has no name or no schema cannot be called and is left out; of two with
    one name the first counts."""
    tools: dict[str, ToolInfo] = {}
    for raw in described:
        tool = read_tool(server, raw)
        if tool is not None:
            tools.setdefault(tool.ref.tool, tool)
    return tuple(tools.values())


def read_tool(server: str, raw: Raw) -> ToolInfo | None:
    name, schema = raw.get("name"), raw.get("inputSchema")
    if not isinstance(name, str) or not name or not isinstance(schema, dict):
        return None
    found = raw.get("annotations")
    hints: Raw = cast("Raw", found) if isinstance(found, dict) else {}
    output = raw.get("outputSchema")
    read_only = hints.get("readOnlyHint") is True
    return ToolInfo(
        ref=ToolRef(server, name),
        title=_text(raw.get("title")) or _text(hints.get("title")) or name,
        description=_text(raw.get("description")),
        input_schema=cast("dict[str, JsonValue]", schema),
        output_schema=cast("dict[str, JsonValue]", output) if isinstance(output, dict) else None,
        read_only=read_only,
        # The protocol gives these two a meaning only for tools that write.
        idempotent=read_only or hints.get("idempotentHint") is True,
        destructive=not read_only and hints.get("destructiveHint") is not False,
        open_world=hints.get("openWorldHint") is not False,
        wire=raw,
    )


def fingerprint(tools: Iterable[ToolInfo]) -> str:
    """The same for two replicas whose tools are called alike: names, schemas and hints, whatever their order and
    wording."""
    contracts = sorted(
        (
            to_json([tool.ref.tool, _sorted(tool.input_schema), _sorted(tool.output_schema), tool.read_only])
            + (b"i" if tool.idempotent else b"")
            for tool in tools
        ),
    )
    return hashlib.blake2b(b"\n".join(contracts), digest_size=8).hexdigest()


def _sorted(value: object) -> object:
    """Objects with their keys in order, so that two ways of writing one schema are the same."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value)
        return {key: _sorted(pairs[key]) for key in sorted(pairs)}
    if isinstance(value, list | tuple):
        return [_sorted(each) for each in cast("list[object]", value)]
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
