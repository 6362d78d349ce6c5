"""The server that the official suite knows: `python -m tests.conformance.everything PORT` serves it on loopback, over
HTTP and beside it WebSocket; without a port it speaks on standard input and output. With a further word `handshake` it
does so as a server of before 2026-07-28.

It is built and served by the kit like every server of ours, so that what the suite finds is true of all of them.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import uvicorn

from kit.author import Server
from kit.serve import http_app, run, serve_http, serve_stdio
from stoa.settings import Settings
from tests.conformance import everything_asking, everything_content, everything_rounds
from tests.pool.servers.legacy_http import only_legacy

__all__ = ["create"]

SCOPE = "conformance:use"

# The suite looks for these very keywords in tools/list: nothing may be resolved or lost on the way.
SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def create(settings: Settings) -> Server:
    server = Server("everything", version="1.0.0", instructions="For the conformance suite.", settings=settings)
    everything_content.install(server)
    everything_asking.install(server)
    everything_rounds.install(server)
    _install_changes(server)
    _install_completion(server)

    @server.tool(title="Any schema", scope=SCOPE, read_only=True, idempotent=True, schema=SCHEMA)
    async def json_schema_2020_12_tool() -> str:
        """Has a schema that uses what JSON Schema 2020-12 offers."""
        return "fine"

    return server


def _install_changes(server: Server) -> None:
    tool = server.tool(title="Changes a list", scope=SCOPE, read_only=False, idempotent=True)

    @tool
    async def test_trigger_tool_change() -> str:
        """Says that the list of tools has changed."""
        await server.announce("tools")
        return "told"

    @tool
    async def test_trigger_prompt_change() -> str:
        """Says that the list of prompts has changed."""
        await server.announce("prompts")
        return "told"


def _install_completion(server: Server) -> None:
    @server.complete("test_prompt_with_arguments", "arg1")
    async def first_arguments(prefix: str) -> Sequence[str]:
        return [word for word in ("paris", "park", "party") if word.startswith(prefix)]


def main(port: int | None, *, only_handshake: bool) -> None:
    settings = Settings.load(os.environ, default_home=Path(tempfile.gettempdir()) / "stoa-everything")
    server = create(settings)
    if port is not None and only_handshake:
        app = http_app({server.name: server}, settings=settings, host="127.0.0.1", at_root=True)
        uvicorn.run(only_legacy(app), host="127.0.0.1", port=port, log_level="warning")
    elif port is None:
        run(lambda: serve_stdio(server), settings=settings)
    else:
        run(
            lambda: serve_http({server.name: server}, settings=settings, host="127.0.0.1", port=port, at_root=True),
            settings=settings,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None, only_handshake="handshake" in sys.argv)
