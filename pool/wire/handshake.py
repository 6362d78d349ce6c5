"""Which revision a server speaks, and what it says of itself: `server/discover`, and `initialize` where that fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS

from pool.wire.asked import OFFERED
from pool.wire.failures import Lost, Refusal
from pool.wire.link import Wire
from stoa import __version__

__all__ = ["CLIENT_INFO", "Hello", "discover", "shake_hands", "stamp"]

PROTOCOL_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
CLIENT_INFO: Final[Mapping[str, str]] = {"name": "stoa", "version": __version__}
UNSUPPORTED_VERSION: Final = -32022
DISCOVER_SECONDS: Final = 10.0
"""A server that is silent about what it does not know is taken for one of the handshake era."""
SAYS_NO_TO_ANYTHING: Final = frozenset({301, 302, 303, 307, 308, 401, 403, 408, 413, 425, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server said of itself."""

    protocol: str
    is_modern: bool
    name: str | None = None
    version: str | None = None
    instructions: str | None = None
    capabilities: Mapping[str, Any] = field(default_factory=dict[str, Any])


def stamp(meta: Mapping[str, Any], protocol: str, capabilities: Mapping[str, Any]) -> dict[str, Any]:
    """`_meta` of a request of 2026-07-28; what else is in it stays."""
    return {**meta, PROTOCOL_KEY: protocol, CLIENT_INFO_KEY: dict(CLIENT_INFO), CAPABILITIES_KEY: dict(capabilities)}


async def shake_hands(wire: Wire) -> Hello:
    """Find the newest revision that both speak. Raises `Lost` and `Refusal`."""
    version = LATEST_MODERN_VERSION
    for is_second in (False, True):
        supported: list[str] = []
        try:
            with anyio.fail_after(DISCOVER_SECONDS):
                hello = _read_discovery(await discover(wire, version))
            if hello is not None:
                wire.protocol, wire.is_modern = hello.protocol, True
                return hello
        except TimeoutError:
            pass
        except Refusal as refusal:
            if refusal.status in SAYS_NO_TO_ANYTHING:
                raise
            supported = _supported(refusal)
            if not is_second and (mutual := _mutual(supported)) is not None:
                version = mutual
                continue
            if supported and not any(known in HANDSHAKE_PROTOCOL_VERSIONS for known in supported):
                raise
        try:
            return await _initialize(wire)
        except Refusal as refusal:
            # A slow starter may have taken the probe after all, and no longer takes a handshake.
            mutual = _mutual(_supported(refusal))
            if is_second or mutual is None:
                raise
            version = mutual
    raise AssertionError  # the second round returns or raises


async def discover(wire: Wire, version: str) -> dict[str, Any]:
    """The raw answer of `server/discover`."""
    wire.protocol, wire.is_modern = version, True
    return await wire.ask("server/discover", {"_meta": stamp({}, version, {})}, is_cancellable=False)


async def _initialize(wire: Wire) -> Hello:
    wire.protocol, wire.is_modern = None, False
    asked = {"protocolVersion": HANDSHAKE_PROTOCOL_VERSIONS[-1], "capabilities": OFFERED, "clientInfo": CLIENT_INFO}
    result = await wire.ask("initialize", dict[str, Any](asked), is_cancellable=False)
    protocol = result.get("protocolVersion")
    if protocol not in HANDSHAKE_PROTOCOL_VERSIONS:
        raise Lost(f"It speaks MCP {protocol!r:.40}, which is not known here.")
    wire.protocol = protocol
    await wire.tell("notifications/initialized", {})
    return _hello(protocol, result, result.get("serverInfo"), is_modern=False)


def _read_discovery(result: dict[str, Any]) -> Hello | None:
    """None for what is no sign of a server of 2026-07-28 or later."""
    versions = result.get("supportedVersions")
    mutual = _mutual(cast("list[object]", versions) if isinstance(versions, list) else [])
    if mutual is None or not isinstance(result.get("capabilities"), dict):
        return None
    meta = result.get("_meta")
    info = cast("dict[str, Any]", meta).get(SERVER_INFO_KEY) if isinstance(meta, dict) else None
    return _hello(mutual, result, info, is_modern=True)


def _hello(protocol: str, result: Mapping[str, Any], info: object, *, is_modern: bool) -> Hello:
    said = cast("dict[str, Any]", info) if isinstance(info, dict) else {}
    capabilities = result.get("capabilities")
    return Hello(
        protocol=protocol,
        is_modern=is_modern,
        name=_text(said.get("name")),
        version=_text(said.get("version")),
        instructions=_text(result.get("instructions")),
        capabilities=cast("dict[str, Any]", capabilities) if isinstance(capabilities, dict) else {},
    )


def _supported(refusal: Refusal) -> list[str]:
    if refusal.code != UNSUPPORTED_VERSION or not isinstance(refusal.data, dict):
        return []
    supported = refusal.data.get("supported")
    return [version for version in supported if isinstance(version, str)] if isinstance(supported, list) else []


def _mutual(versions: list[str] | list[object]) -> str | None:
    return next((version for version in reversed(MODERN_PROTOCOL_VERSIONS) if version in versions), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
