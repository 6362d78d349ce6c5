"""How events are addressed on the bus, and who wants which. Pure.

    <channel>.<tenant>.<type>        events.acme.order.placed

The tenant is one token: letters, digits and hyphens stand for themselves, everything else is spelt `_xx` for each byte
of its UTF-8. So no name has a dot or a wildcard in it, no two names are spelt alike, and the name can be read back.
Patterns are those of NATS: `*` stands for one token, `>` at the end for one or more.
"""

import re
from dataclasses import dataclass
from typing import Final

from eventlog.names import MAX_TENANT, check_tenant, is_type, shown
from stoa.errors import BadInput

__all__ = ["Interest", "check_channel", "matches", "subject_of", "tenant_of", "tenant_token"]

_CHANNEL: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_TOKEN: Final = re.compile(r"(?:[a-zA-Z0-9-]|_[0-9a-f]{2})+")
_BYTE: Final = re.compile(r"_([0-9a-f]{2})|.")
_ANY, _REST = "*", ">"


@dataclass(frozen=True, slots=True)
class Interest:
    """What a subscriber wants of a channel: events of one tenant (or of all), of some types (or of all). Types are
    whole names or beginnings (`order.*`)."""

    channel: str = "events"
    tenant: str | None = None
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_channel(self.channel)
        if self.tenant is not None:
            check_tenant(self.tenant)
        for each in self.types:
            if not is_type(f"{each.removesuffix('.*')}.x" if each.endswith(".*") else each):
                raise BadInput(
                    f"{shown(each)} is no event type that can be subscribed to.",
                    hint="Give a whole name (order.placed), or a beginning with .* after it (order.*).",
                )

    def patterns(self) -> tuple[str, ...]:
        """What a broker filters by. None of them covers another: NATS refuses filters that overlap."""
        front = f"{self.channel}.{_ANY if self.tenant is None else tenant_token(self.tenant)}."
        found = dict.fromkeys(
            front + (f"{each[:-1]}{_REST}" if each.endswith(".*") else each) for each in self.types or (_REST,)
        )
        return tuple(one for one in found if not any(other != one and matches(other, one) for other in found))

    def wants(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.patterns())


def check_channel(name: str) -> str:
    if not _CHANNEL.fullmatch(name):
        raise BadInput(
            f"{shown(name)} cannot be the name of a channel.",
            hint="Use a small letter, then small letters, digits and '_', at most 40 in all.",
        )
    return name


def subject_of(channel: str, tenant: str, type: str) -> str:
    return f"{channel}.{tenant_token(tenant)}.{type}"


def tenant_of(subject: str) -> str:
    """Raises `BadInput` for a subject that is none of ours."""
    channel, _, rest = subject.partition(".")
    token, _, type = rest.partition(".")
    name = _spelt(token)
    # A name has one spelling only.
    if not (
        _CHANNEL.fullmatch(channel)
        and is_type(type)
        and 0 < len(name) <= MAX_TENANT
        and name.isprintable()
        and tenant_token(name) == token
    ):
        raise BadInput(f"{shown(subject)} is no subject of an event.")
    return name


def tenant_token(tenant: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"_{byte:02x}" for byte in tenant.encode())


def _spelt(token: str) -> str:
    """Empty for what nothing is spelt by."""
    if not _TOKEN.fullmatch(token):
        return ""
    spelt = (bytes([int(found[1], 16)]) if found[1] else found[0].encode() for found in _BYTE.finditer(token))
    return b"".join(spelt).decode(errors="ignore")


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of those that a pattern stands for. A pattern may take the place of the subject: then
    whether it covers that pattern."""
    wanted, found = pattern.split("."), subject.split(".")
    for at, token in enumerate(wanted):
        if token == _REST:
            return len(found) > at
        if at >= len(found) or found[at] == _REST or token not in (_ANY, found[at]):
            return False
    return len(wanted) == len(found)
