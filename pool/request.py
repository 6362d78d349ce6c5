"""One request as the pool sees it, and its answer: raw, with who asks and how long it may take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pool.wire.asker import HOST, Asker
from stoa.principal import Principal
from stoa.tools import Progress

__all__ = ["READ_METHODS", "Passed", "Request", "is_read"]

READ_METHODS: Final = frozenset(
    {
        "completion/complete", "ping", "prompts/get", "prompts/list", "resources/list", "resources/read",
        "resources/templates/list", "server/discover", "tools/list",
    }
)  # fmt: skip
"""Methods by which the protocol changes nothing: asking twice does no harm."""


def is_read(method: str) -> bool:
    return method in READ_METHODS


@dataclass(slots=True, eq=False)
class Request:
    """`what` names it for people: `content.search_documents`. `kind` keeps apart what takes different times.

    `may_repeat`: asking twice does no more than asking once. `give_up_at` is anyio's time. `prefer` is the replica to
    use if it can be used; calls with the same `key` stay together where a server keeps sessions. `tried` are the
    replicas that it has been sent to so far, hedges included.
    """

    method: str
    params: dict[str, Any]
    what: str
    kind: str
    may_repeat: bool
    principal: Principal
    hops: int = 0
    asker: Asker = HOST
    progress: Progress | None = None
    headers: Mapping[str, str] | None = None
    give_up_at: float = math.inf
    prefer: str | None = None
    key: str | None = None
    tried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passed:
    """A raw result and who gave it. The time is that of the attempt that was answered, without waiting for a slot."""

    result: dict[str, Any] = field(repr=False)
    replica: str
    protocol: str
    is_modern: bool
    latency_seconds: float
