"""What is to be connected, as values: members (one command, address or object) and groups of them.

Nothing here opens anything. Specs know which of their values are secret, and never show them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from pool.balance.policy import BalancePolicy
from pool.redact import mask, mask_arguments, mask_url, secrets_in_arguments

__all__ = ["Affinity", "GroupSpec", "HttpSpec", "InProcessSpec", "MemberSpec", "SseSpec", "StdioSpec", "WsSpec"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, repr=False)
class StdioSpec:
    """A command that speaks MCP on its standard input and output.

    `env` is added to the few variables that every child gets (PATH, HOME, …). `secrets` are values that must not be
    shown, wherever they occur; what looks like one in the arguments is added to them.
    """

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    cwd: str | None = None
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        found = secrets_in_arguments(self.args).difference(self.secrets)
        object.__setattr__(self, "secrets", (*self.secrets, *sorted(found)))

    def __str__(self) -> str:
        return mask(" ".join([self.command, *mask_arguments(self.args)]), self.secrets)

    def __repr__(self) -> str:
        return f"<StdioSpec {self}>"


@dataclass(frozen=True, slots=True, repr=False)
class _Address:
    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    secrets: tuple[str, ...] = ()

    def __str__(self) -> str:
        return mask(mask_url(self.url), self.secrets)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


@dataclass(frozen=True, slots=True)
class LoginSpec:
    """How to log in to a server that asks for OAuth. All empty: register as a new client, and let a person agree.

    `client_id` (and `client_secret`) of a client that is registered there already, bound to `issuer`; `metadata_url`
    is a client id that is an address (CIMD). `is_machine`: by the client's own secret, without a person. `port` is the
    loopback port that the browser is sent back to, 0 for any.
    """

    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    issuer: str = ""
    scope: str = ""
    metadata_url: str = ""
    is_machine: bool = False
    port: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class HttpSpec(_Address):
    """A Streamable HTTP endpoint. `headers` go with every request and are secret."""

    login: LoginSpec = LoginSpec()


@dataclass(frozen=True, slots=True, repr=False)
class SseSpec(_Address):
    """The HTTP+SSE endpoint of a server of 2024-11-05. `headers` go with every request and are secret."""

    login: LoginSpec = LoginSpec()


@dataclass(frozen=True, slots=True, repr=False)
class WsSpec(_Address):
    """A WebSocket endpoint (our custom transport). `headers` go with the upgrade request and are secret."""


@dataclass(frozen=True, slots=True)
class InProcessSpec:
    """A server object in this process: whatever the SDK's client accepts (`kit`: `server.lowlevel`)."""

    server: object = field(repr=False)

    def __str__(self) -> str:
        return "in this process"


MemberSpec = StdioSpec | HttpSpec | SseSpec | WsSpec | InProcessSpec

Affinity = Literal["auto", "none"]
"""`auto`: whoever calls stays with one replica where the server keeps state for a session; `none`: never."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """One logical server: every member `replicas` times. Times in seconds; 0 for a limit that is off.

    `trusted` servers are believed when they say that a tool is read-only or idempotent, and are told who calls.
    `weights` and `tiers` are the members' own, in their order; a member past their end has weight 1 and tier 0, and a
    lower tier is used first. `spares` replicas are kept started beyond need. A replica is replaced, by a successor that
    is started first, when it is older than `max_age_seconds`, has served `max_calls` or uses more than `max_memory_mb`.
    """

    name: str
    members: tuple[MemberSpec, ...]
    replicas: int = 1
    max_in_flight: int = 16
    max_waiting: int = 64
    acquire_timeout_seconds: float = 10
    call_timeout_seconds: float = 60
    start_timeout_seconds: float = 30
    stop_grace_seconds: float = 2
    trusted: bool = False
    weights: tuple[float, ...] = ()
    tiers: tuple[int, ...] = ()
    policy: BalancePolicy = field(default_factory=BalancePolicy)
    idle_timeout_seconds: float = 0
    max_age_seconds: float = 0
    max_calls: int = 0
    max_memory_mb: float = 0
    spares: int = 0
    probe_interval_seconds: float = 30
    probe_timeout_seconds: float = 5
    affinity: Affinity = "auto"

    def weight(self, member: int) -> float:
        """The weight of the member with that number."""
        return self.weights[member] if member < len(self.weights) else 1.0

    def tier(self, member: int) -> int:
        """The priority tier of the member with that number."""
        return self.tiers[member] if member < len(self.tiers) else 0
