"""Who may use which server through the gateway. Pure.

Servers of ours are told who calls, and check the scopes of each tool themselves. Whoever is not told cannot check: for
such a server the caller needs the scope `<server>:use`. The person at this machine has every scope.
"""

from collections.abc import Callable
from typing import Final

from kit.health import METRICS_SCOPE
from pool.spec import GroupSpec, StdioSpec
from stoa.errors import Denied
from stoa.principal import Principal

__all__ = ["Access", "is_told", "without_words"]

WORDS: Final = (" Its last words on stderr:", " It wrote ")
"""Begin what a server's process has said itself, in the pool's messages: it may be about anybody's calls."""


def is_told(spec: GroupSpec, *, has_key: bool) -> bool:
    """Whether a server gets our signed note of who calls: if it is trusted, and has a key to read it with."""
    return spec.trusted and (has_key or all(isinstance(member, StdioSpec) for member in spec.members))


class Access:
    """`is_told` says whether a server gets a signed note of who calls."""

    def __init__(self, is_told: Callable[[str], bool]) -> None:
        self.is_told = is_told

    def __repr__(self) -> str:
        return "<Access>"

    def allows(self, principal: Principal, server: str) -> bool:
        return "*" in principal.scopes or self.is_told(server) or principal.allows(f"{server}:use")

    def sees_inside(self, principal: Principal) -> bool:
        """Whether the principal may read what is about all callers: what is counted, and what processes have said."""
        return "*" in principal.scopes or METRICS_SCOPE in principal.scopes

    def require(self, principal: Principal, server: str) -> None:
        """Raise `Denied` where the principal may not use the server."""
        if not self.allows(principal, server):
            raise Denied(
                f"{principal.subject!r} may not use the server {server!r}.",
                hint=f"Ask for a token with the scope '{server}:use'.",
            )


def without_words(said: str) -> str:
    """A message of the pool's without what a process has said."""
    for begin in WORDS:
        said = said.partition(begin)[0]
    return said
