"""What the transports need of a server, whoever has built it: `kit.author.Server`, and the gateway's."""

from typing import TYPE_CHECKING, Any, Protocol

from mcp.server.lowlevel import Server as LowLevelServer

from kit.subscriptions import Subscriptions

if TYPE_CHECKING:  # counting is for HTTP; a server on stdio starts without it
    from kit.metrics import Metrics

__all__ = ["Served"]


class Served(Protocol):
    """One MCP server. `lowlevel` answers in both protocol eras; `subscriptions` are ended when serving ends."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def lowlevel(self) -> LowLevelServer[Any]: ...

    @property
    def subscriptions(self) -> Subscriptions: ...

    def observe(self, metrics: "Metrics") -> None:
        """Count requests from now on."""
        ...
