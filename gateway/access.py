"""Who may use which server through the gateway. Pure.

Servers of ours are told who calls, and check the scopes of each tool themselves. Whoever is not told cannot check: for
such a server the caller needs the scope `<server>:use`. The person at this machine has every scope.
"""

from collections.abc import Callable

from pool.spec import GroupSpec, StdioSpec
from stoa.errors import Denied
from stoa.principal import Principal

__all__ = ["Access", "is_told"]


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

    def require(self, principal: Principal, server: str) -> None:
        """Raise `Denied` where the principal may not use the server."""
        if not self.allows(principal, server):
            raise Denied(
                f"{principal.subject!r} may not use the server {server!r}.",
                hint=f"Ask for a token with the scope '{server}:use'.",
            )
