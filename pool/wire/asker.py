"""Whose request it is: the client behind it, what it can be asked back, and where that goes. Pure."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue

__all__ = ["HOST", "Asker", "only_one"]

_NOTHING: Mapping[str, JsonValue] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Asker:
    """The client behind a request. Calls of one client share the `key`; the host itself has the empty one.

    `capabilities` are told with each 2026-07-28 request. `answer` takes a server's request (elicitation/create,
    sampling/createMessage, roots/list) and gives its raw result, or raises `Refusal`. `notice` gets the notifications
    that belong to this request, but for progress, which has its own way.
    """

    key: str
    capabilities: Mapping[str, JsonValue] = field(default_factory=lambda: _NOTHING)
    answer: Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]] | None = None
    notice: Callable[[str, Mapping[str, Any]], Awaitable[None]] | None = None


HOST = Asker(key="")


def only_one(askers: Iterable[Asker]) -> Asker | None:
    """The latest request's asker when all requests are of one client; None when there are none, or several clients.

    A server of the handshake era does not say for which request it asks something back.
    """
    found: Asker | None = None
    for asker in askers:
        if found is not None and found.key != asker.key:
            return None
        found = asker
    return found
