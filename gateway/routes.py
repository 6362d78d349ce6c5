"""Which server a resource belongs to. Pure.

Addresses stay as servers give them. The first of these that fits decides, the first server in the order of the
configuration where several do: a listed resource; a template; a scheme that is a server's name; a scheme that a
listing has.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["MAX_URI_CHARACTERS", "Pattern", "Routes", "read_template"]

MAX_URI_CHARACTERS: Final = 8192

_EXPRESSION: Final = re.compile(r"\{([+#./;?&]?)[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A URI template (RFC 6570) as what stands between its expressions; `crosses` says which of these may hold `/`."""

    literals: tuple[str, ...]
    crosses: tuple[bool, ...]

    def matches(self, uri: str) -> bool:
        """Whether the address can have been made from the template. Takes time by the length of the address."""
        first, *rest = self.literals
        if not uri.startswith(first):
            return False
        if not rest:
            return uri == first
        at = len(first)
        for index, literal in enumerate(rest):
            is_last = index == len(rest) - 1
            end = len(uri) - len(literal) if is_last else uri.find(literal, at)
            if end < at or (is_last and not uri.endswith(literal)):
                return False
            if not self.crosses[index] and "/" in uri[at:end]:
                return False
            at = end + len(literal)
        return True


def read_template(template: str) -> Pattern:
    literals: list[str] = []
    crosses: list[bool] = []
    at = 0
    for found in _EXPRESSION.finditer(template):
        literals.append(template[at : found.start()])
        # `{+path}` and `{#part}` keep slashes, `{/a,b}` makes them, `{?q}` may hold anything behind the path.
        crosses.append(found[1] in ("+", "#", "/", "?", "&") or found[0].endswith("*}"))
        at = found.end()
    return Pattern((*literals, template[at:]), tuple(crosses))


@dataclass(frozen=True, slots=True)
class Routes:
    """Made anew whenever a listing changes. `twice` are (address, server) that came second."""

    resources: Mapping[str, str] = field(default_factory=dict[str, str])
    templates: Mapping[str, str] = field(default_factory=dict[str, str])
    patterns: tuple[tuple[Pattern, str], ...] = ()
    schemes: Mapping[str, str] = field(default_factory=dict[str, str])
    twice: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        listings: Iterable[tuple[str, Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]],
        *,
        servers: Iterable[str],
    ) -> "Routes":
        """From (server, its resources, its templates) in the order of the configuration."""
        resources: dict[str, str] = {}
        templates: dict[str, str] = {}
        schemes: dict[str, str] = {server.lower(): server for server in servers}
        twice: list[tuple[str, str]] = []
        for server, listed, offered in listings:
            for known, key, entries in ((resources, "uri", listed), (templates, "uriTemplate", offered)):
                for entry in entries:
                    address = entry.get(key)
                    if not isinstance(address, str):
                        continue
                    if known.setdefault(address, server) != server:
                        twice.append((address, server))
                    schemes.setdefault(_scheme(address), server)
        patterns = tuple((read_template(template), server) for template, server in templates.items())
        return cls(resources, templates, patterns, schemes, tuple(twice))

    def find(self, uri: str) -> str | None:
        """The server for an address, or for a template as a listing gives it."""
        found = self.resources.get(uri) or self.templates.get(uri)
        if found is not None or len(uri) > MAX_URI_CHARACTERS:
            return found
        matching = next((server for pattern, server in self.patterns if pattern.matches(uri)), None)
        return matching or self.schemes.get(_scheme(uri))


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].lower()
