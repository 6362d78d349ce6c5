"""Telling where servers can be reached, once all of them can be."""

import re
from collections.abc import Sequence

from pydantic import JsonValue

from host.session import Session

__all__ = ["Announcer"]

GATEWAY = "(all)"
"""How the gateway is called beside the servers; no server can have this name."""

_ADDRESS = re.compile(r"https?://\S+")


class Announcer:
    """Called with the kit's lines, one for each server in order; writes when the last one has come.

    With a gateway, the first line is that of all servers together.
    """

    def __init__(self, names: Sequence[str], session: Session, *, has_gateway: bool = False) -> None:
        self._names = (GATEWAY, *names) if has_gateway else tuple(names)
        self._session = session
        self._addresses: list[str] = []

    def __repr__(self) -> str:
        return f"<Announcer {len(self._addresses)} of {len(self._names)}>"

    def __call__(self, line: str) -> None:
        found = _ADDRESS.search(line)
        if found is None:
            self._session.output.note(line)
            return
        self._addresses.append(found.group())
        if len(self._addresses) == len(self._names):
            self._announce(list(zip(self._names, self._addresses, strict=True)))

    def _announce(self, served: Sequence[tuple[str, str]]) -> None:
        from host import show  # it brings rich, which a server on stdio has no use for

        document: dict[str, JsonValue] = {
            "servers": [
                {"server": name, "http": http, "ws": _websocket(http)} for name, http in served if name != GATEWAY
            ]
        }
        for name, http in served:
            if name == GATEWAY:
                document["gateway"] = {"http": http, "ws": _websocket(http)}

        rows = [(name, http, _websocket(http)) for name, http in served]
        self._session.output.document(document, lambda console: show.addresses(console, rows))


def _websocket(http: str) -> str:
    return f"ws{http.removeprefix('http')}/ws"
