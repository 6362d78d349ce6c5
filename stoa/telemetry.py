"""Names of spans and metrics, in one room because the GenAI and MCP conventions are still moving."""

from typing import Final

__all__ = ["REQUESTS", "REQUESTS_RUNNING", "REQUEST_SECONDS"]

REQUESTS: Final = "stoa_mcp_requests_total"
"""Requests served, by server, method, tool and outcome (`ok`, `tool_error`, `error`, `cancelled`)."""

REQUEST_SECONDS: Final = "stoa_mcp_request_seconds"
"""How long they took, by server, method and tool."""

REQUESTS_RUNNING: Final = "stoa_mcp_requests_running"
"""Requests being served right now, by server."""
