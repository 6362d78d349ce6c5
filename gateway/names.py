"""Names of tools and prompts in the gateway: `<server>_<name>`, and the dictionary back. Pure.

A name has at most 64 characters of `[a-zA-Z0-9_-]`, which is what models are given. Where that cannot be kept, or
where a name could be meant for another server too, a short hash of server and name follows it. Whether it does hangs
on the names of the configured servers alone, not on which of them are up: a name means the same thing all day.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["MAX_NAME_CHARACTERS", "OWN_TOOLS", "Names", "Origin", "candidates", "name_all", "owner_of"]

MAX_NAME_CHARACTERS: Final = 64
HASH_CHARACTERS: Final = 8
KEPT_CHARACTERS: Final = MAX_NAME_CHARACTERS - HASH_CHARACTERS - 1
"""Of a name that a hash follows."""

OWN_TOOLS: Final = ("search_tools", "describe_tool", "call_tool")
"""Tools of the gateway itself."""

_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]")

Origin = tuple[str, str]
"""A server and what it calls the thing itself."""


@dataclass(frozen=True, slots=True)
class Names:
    """Both directions. `twice` are things whose name was taken: they cannot be reached."""

    public: Mapping[Origin, str] = field(default_factory=dict[Origin, str])
    origin: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    twice: tuple[Origin, ...] = ()


def name_all(things: Iterable[Origin], *, servers: Sequence[str], has_prefix: bool = True) -> Names:
    """Names for all things of all `servers`, the first of two with one name in the order given."""
    public: dict[Origin, str] = {}
    origin: dict[str, Origin] = {}
    twice: list[Origin] = []
    prefixes = {server: _prefix(server) for server in servers}
    for thing in things:
        name = _name(thing, prefixes) if has_prefix else thing[1]
        if name in origin:
            twice.append(thing)
            continue
        public[thing], origin[name] = name, thing
    return Names(public, origin, tuple(twice))


def owner_of(name: str, servers: Iterable[str]) -> str | None:
    """The server whose prefix a name carries: of several the one with the longest, which is how names are given."""
    return max(
        (server for server in servers if name.startswith(_prefix(server))), key=lambda s: len(_prefix(s)), default=None
    )


def candidates(name: str, servers: Iterable[str]) -> tuple[str, ...]:
    """All servers that a thing of this name can belong to, the one that it most likely means first."""
    fitting = [server for server in servers if name.startswith(_prefix(server)[:KEPT_CHARACTERS])]
    return tuple(sorted(fitting, key=lambda server: -len(_prefix(server))))


def _name(thing: Origin, prefixes: Mapping[str, str]) -> str:
    server, own = thing
    plain = f"{server}_{own}"
    name = _FOREIGN.sub("_", plain)
    is_clear = owner_of(name, prefixes) == server and name not in OWN_TOOLS
    if name == plain and len(name) <= MAX_NAME_CHARACTERS and is_clear:
        return name
    digest = hashlib.sha256(f"{server}\0{own}".encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARACTERS]
    return f"{name[:KEPT_CHARACTERS]}_{digest}"


def _prefix(server: str) -> str:
    return _FOREIGN.sub("_", server) + "_"
