"""What whoever starts the gateway may choose."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pool.nearby import did_you_mean
from stoa.errors import BadInput, NotFound

__all__ = ["SEARCH_ABOVE", "Limits", "Options"]

SEARCH_ABOVE: Final = 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the gateway's patience. `listing_seconds`: what a listing waits for servers that have not answered
    yet. `answer_seconds`: how long a server's question may stay unanswered. `max_held`: calls that wait for their
    client at one time, `max_held_each` the same for one principal.
    """

    listing_seconds: float = 5.0
    answer_seconds: float = 300.0
    max_held: int = 200
    max_held_each: int = 8


@dataclass(frozen=True, slots=True)
class Options:
    """`servers` are the groups in front of which it stands, all where none is named. `no_prefix` leaves names as they
    are, which one group alone can have. Above `search_above` tools the list is a search with the `pinned` tools (by
    their names in the gateway) beside it, unless `list_all`.
    """

    servers: tuple[str, ...] = ()
    no_prefix: bool = False
    list_all: bool = False
    search_above: int = SEARCH_ABOVE
    pinned: tuple[str, ...] = ()

    def check(self, groups: Iterable[str]) -> None:
        """Raise `NotFound` for a server that there is not, `BadInput` for choices that exclude each other."""
        known = tuple(groups)
        for name in self.servers:
            if name not in known:
                raise NotFound(f"There is no server {name!r}.", hint=did_you_mean(name, known))
        chosen = self.servers or known
        if self.no_prefix and len(chosen) != 1:
            raise BadInput(
                f"--no-prefix is for one server; here are {len(chosen)}: {', '.join(chosen[:5])}.",
                hint="Name one with --server.",
            )
        if self.search_above < 0:
            raise BadInput(f"--search-above {self.search_above} is no number of tools.", hint="Give 0 or more.")

    def chosen(self, groups: Iterable[str]) -> tuple[str, ...]:
        """The groups that are in front now, in the order of the configuration."""
        return tuple(name for name in groups if not self.servers or name in self.servers)
