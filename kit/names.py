"""The names by which a server may be called, and the web pages that may call it: `Host` and `Origin` of a request.

This keeps web pages out that a browser on this machine has open (DNS rebinding). The SDK has such a guard, which takes
whatever follows a name and a colon for a port.
"""

import re
from collections.abc import Iterable
from typing import Final

from starlette.responses import Response

__all__ = ["LOOPBACK_NAMES", "Names"]

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


class Names:
    """Names without a port are taken with any; those with `:*` want one."""

    def __init__(self, *, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._hosts = _any_of(hosts)
        self._origins = _any_of(origins)

    def __repr__(self) -> str:
        return f"<Names: {self._hosts.pattern.decode()}>"

    def refuse(self, headers: Iterable[tuple[bytes, bytes]]) -> Response | None:
        """421 for a `Host` and 403 for an `Origin` that are not ours."""
        has_host = False
        for name, spaced in headers:
            value = spaced.rstrip(b" \t")
            if name == b"host":
                has_host = True
                if self._hosts.fullmatch(value) is None:
                    return Response("Invalid Host header", status_code=421)
            elif name == b"origin" and value and self._origins.fullmatch(value) is None:
                return Response("Invalid Origin header", status_code=403)
        return None if has_host else Response("Invalid Host header", status_code=421)


def _any_of(names: Iterable[str]) -> re.Pattern[bytes]:
    """One pattern for all of them. Names know no upper and lower case (RFC 9110, 4.2.3)."""
    return re.compile(b"|".join(_pattern(name) for name in names), re.IGNORECASE)


def _pattern(name: str) -> bytes:
    """A name ends where a port begins: `]` ends an IPv6 one."""
    port = b":[0-9]{1,5}"
    if name.endswith(":*"):
        return re.escape(name.removesuffix(":*").encode()) + port
    rest = name.rpartition("]")[2] if "]" in name else name.partition("://")[2] or name
    return re.escape(name.encode()) + (b"" if ":" in rest else b"(?:" + port + b")?")
