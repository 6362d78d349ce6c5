"""Calling a tool, in words that belong to no wire: the pool makes these calls, servers and the host ask for them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import JsonValue

from stoa.principal import Principal

__all__ = ["Block", "Progress", "ToolCall", "ToolCaller", "ToolCallers", "ToolRef", "ToolResult"]


@dataclass(frozen=True, slots=True)
class ToolRef:
    """A tool of a server; written `server.tool`."""

    server: str
    tool: str

    def __str__(self) -> str:
        return f"{self.server}.{self.tool}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    ref: ToolRef
    arguments: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class Block:
    """One content block of a result. `wire` is the block as MCP writes it, so that it can be passed on unchanged."""

    kind: str
    text: str
    wire: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered. `is_error` is the tool's own failure: the call itself went through."""

    blocks: tuple[Block, ...]
    structured: JsonValue = None
    is_error: bool = False

    @property
    def text(self) -> str:
        """All text blocks, one to a line."""
        return "\n".join(block.text for block in self.blocks if block.kind == "text")


Progress = Callable[[float, float | None, str | None], Awaitable[None]]
"""Told while a tool works: done so far, the total if known, a message."""


class ToolCaller(Protocol):
    """Whoever can call tools of other servers on behalf of the present caller."""

    async def call_tool(
        self, call: ToolCall, *, timeout_seconds: float | None = None, progress: Progress | None = None
    ) -> ToolResult:
        """Call and wait. Raises `NotFound` for an unknown server or tool, `Unavailable`, `OutcomeUnknown`, `Denied`."""
        ...


class ToolCallers(Protocol):
    """Whoever hands out a `ToolCaller` for one caller: the pool of a process, or the way to a gateway."""

    def caller(self, principal: Principal, *, hops: int = 0) -> ToolCaller:
        """For this principal; `hops` is how many servers its calls will have come through, the present one included."""
        ...
