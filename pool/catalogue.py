"""Which tools there are, as values: what `tools()` answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from stoa.errors import StoaError
from stoa.tools import ToolRef

__all__ = ["Catalogue", "ToolInfo"]


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool as its server describes it. The four hints are what the server says; believe them of trusted servers.

    Where a server says nothing, the protocol's defaults hold: not read-only, destructive, not idempotent, open world.
    `wire` is the description as the server wrote it, for whoever hands it on.
    """

    ref: ToolRef
    title: str
    description: str
    input_schema: Mapping[str, JsonValue]
    output_schema: Mapping[str, JsonValue] | None
    read_only: bool
    idempotent: bool
    destructive: bool
    open_world: bool
    wire: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue], repr=False, compare=False)

    @property
    def may_repeat(self) -> bool:
        """Whether calling twice does no more than calling once, if the server is believed."""
        return self.read_only or self.idempotent


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Tools of all servers that answered, in the order of the configuration, and who did not answer and why.

    `errors` are what was met, in the order of `unreachable`, for whoever has to raise one of them.
    """

    tools: tuple[ToolInfo, ...]
    unreachable: tuple[tuple[str, str], ...] = ()
    errors: tuple[StoaError, ...] = ()

    def find(self, ref: ToolRef) -> ToolInfo | None:
        return next((tool for tool in self.tools if tool.ref == ref), None)
