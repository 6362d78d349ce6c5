"""Raw results from one protocol era to the other: what an envelope has to carry, what a client would not know. Pure.

Nothing is validated here. What a server says passes as it is, but for the few fields that differ between the eras.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import mcp_types as types
from mcp_types.methods import CACHEABLE_METHODS

__all__ = ["for_client", "is_input_required", "listed_tool", "own_result"]

_RESULT_OF_2026: Final = ("resultType", "ttlMs", "cacheScope")
_TOOL_OF_2025: Final = "execution"
"""Says how a tool may run as a task, which the gateway does not pass on."""

Raw = Mapping[str, Any]


def is_input_required(result: Raw) -> bool:
    return result.get("resultType") == "input_required"


def for_client(result: dict[str, Any], method: str, *, is_modern: bool, stamp: Raw) -> dict[str, Any]:
    """A server's result as the client's era has it. `stamp` is what the gateway says of itself since 2026-07-28.

    The result may be changed in place: it was read for this one client.
    """
    if is_modern:
        return _modern(result, method, stamp)
    for key in _RESULT_OF_2026:
        result.pop(key, None)
    meta = result.get("_meta")
    if isinstance(meta, dict) and types.SERVER_INFO_META_KEY in meta:
        fields = cast("dict[str, Any]", meta)
        result["_meta"] = {key: value for key, value in fields.items() if key != types.SERVER_INFO_META_KEY}
        if not result["_meta"]:
            del result["_meta"]
    if method == "tools/call" and not isinstance(result.get("structuredContent", {}), dict):
        del result["structuredContent"]  # any JSON since 2026-07-28, an object before; the text mirror says it, too
    return result


def own_result(fields: dict[str, Any], method: str, *, is_modern: bool, stamp: Raw) -> dict[str, Any]:
    """A result that the gateway gives itself."""
    return _modern(fields, method, stamp) if is_modern else fields


def listed_tool(wire: Raw, *, name: str, is_modern: bool) -> dict[str, Any]:
    """A tool as a client of the era may see it, under its name in the gateway."""
    tool = {key: value for key, value in wire.items() if key != _TOOL_OF_2025}
    tool["name"] = name
    if not is_modern:
        schema = tool.get("outputSchema")
        if isinstance(schema, dict) and cast("dict[str, Any]", schema).get("type") != "object":
            del tool["outputSchema"]
    return tool


def _modern(result: dict[str, Any], method: str, stamp: Raw) -> dict[str, Any]:
    if result.get("resultType") is None:
        result["resultType"] = "complete"
    if method in CACHEABLE_METHODS and not is_input_required(result):
        result.setdefault("ttlMs", 0)
        result.setdefault("cacheScope", "private")
    meta = result.get("_meta")
    if isinstance(meta, dict):
        result["_meta"] = {**cast("dict[str, Any]", meta), types.SERVER_INFO_META_KEY: stamp}
    else:
        result["_meta"] = {types.SERVER_INFO_META_KEY: stamp}
    return result
