"""Lists as servers give them: what is not valid MCP is left out, and said; the rest stays of use. Pure."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map
from mcp_types.methods import validate_server_result
from pydantic import ValidationError

__all__ = ["param_headers", "without_malformed"]

_log = logging.getLogger(__name__)

MAX_TOLD: Final = 10
"""Of so many that are left out of one list each is told by its name."""

_ERAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "2025-11-25": {},
    "2026-07-28": {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"},
}


def without_malformed(
    method: str, key: str, items: Sequence[object], *, server: str, is_modern: bool
) -> list[dict[str, Any]]:
    """The items that are valid in one of the two eras."""
    if _are_valid(method, key, items):
        good = cast("list[dict[str, Any]]", list(items))
    else:
        good: list[dict[str, Any]] = []
        bad: list[object] = []
        for item in items:
            if _are_valid(method, key, [item]):
                good.append(cast("dict[str, Any]", item))
            else:
                bad.append(item)
        for item in bad[:MAX_TOLD]:
            _tell(server, key, item, "it is not valid MCP")
        if len(bad) > MAX_TOLD:
            _log.warning("… and %d more of the %s of the server %r.", len(bad) - MAX_TOLD, key, server)
    if method == "tools/list" and is_modern:
        # The revision forbids to offer a tool whose headers nobody can send.
        reasons = [find_invalid_x_mcp_header(tool.get("inputSchema")) for tool in good]
        for tool, reason in [(tool, reason) for tool, reason in zip(good, reasons, strict=True) if reason][:MAX_TOLD]:
            _tell(server, key, tool, reason)
        good = [tool for tool, reason in zip(good, reasons, strict=True) if reason is None]
    return good


def param_headers(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """The `Mcp-Param-*` headers of a call: arguments that the tool's schema marks with `x-mcp-header`."""
    mapping = x_mcp_header_map(schema)
    return mcp_param_headers(mapping, arguments) if mapping else {}


def _are_valid(method: str, key: str, items: Sequence[object]) -> bool:
    for version, more in _ERAS.items():
        with suppress(ValidationError):
            validate_server_result(method, version, {key: list(items), **more})
            return True
    return False


def _tell(server: str, key: str, item: object, reason: str | None) -> None:
    name = cast("dict[str, object]", item).get("name") if isinstance(item, dict) else None
    _log.warning("The server %r lists one of its %s that is left out, %.80r: %s.", server, key, name, reason)
