"""What callers of this server may do. `events:admin` is for whoever runs it: it shows positions in the log, which tell
how much all tenants write together, and it lets projections be built anew and people be forgotten."""

from typing import Final

from stoa.principal import Principal

__all__ = ["ADMIN", "APPEND", "READ", "has_positions", "require_positions"]

READ: Final = "events:read"
APPEND: Final = "events:append"
ADMIN: Final = "events:admin"


def has_positions(principal: Principal) -> bool:
    return principal.allows(ADMIN)


def require_positions(principal: Principal, position: int | None) -> None:
    """Raises `Denied` for a caller who names a position and may not know any."""
    if position is not None:
        principal.require(ADMIN)
