"""Which tools there are to work with, and what to say when no server can be reached."""

from collections.abc import Sequence

from pool.catalogue import Catalogue
from pool.pool import Pool
from stoa.errors import BadInput, StoaError, Unavailable

__all__ = ["catalogue_of", "reach", "unreachable"]


async def catalogue_of(pool: Pool, servers: Sequence[str]) -> Catalogue:
    """The tools of the named servers, of all where none is named."""
    parts = [await pool.tools(server) for server in dict.fromkeys(servers)] if servers else [await pool.tools()]
    return Catalogue(
        tools=tuple(tool for part in parts for tool in part.tools),
        unreachable=tuple(each for part in parts for each in part.unreachable),
        errors=tuple(error for part in parts for error in part.errors),
    )


async def reach(pool: Pool, servers: Sequence[str]) -> Catalogue:
    """The same, with at least one tool in it. Raises what stood in the way where there is none."""
    catalogue = await catalogue_of(pool, servers)
    if catalogue.errors and not catalogue.tools:
        raise unreachable(catalogue.errors)
    if not catalogue.tools:
        raise BadInput("No server offers any tool.", hint="See `stoa servers` and mcp.json.")
    return catalogue


def unreachable(errors: Sequence[StoaError]) -> StoaError:
    """One error for several servers that are away. It is the caller's fault only if it is so for each of them."""
    if len(errors) == 1:
        return errors[0]
    kind = BadInput if all(isinstance(error, BadInput) for error in errors) else Unavailable
    return kind("No server can be reached. " + " ".join(str(error) for error in errors), hint="See `stoa doctor`.")
