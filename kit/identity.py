"""Whose request is it? The rule that every transport follows, without any I/O.

An assertion signed by one of our own processes wins, then the bearer token that the transport has verified, then the
person at this machine where that is allowed. How many servers the call has come through is read here too.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from stoa.errors import BadInput, Denied
from stoa.principal import LOCAL, Principal, verify_assertion
from stoa.settings import Settings
from stoa.wire import HOPS_KEY, MAX_HOPS, PRINCIPAL_KEY

__all__ = ["MAX_ASSERTION_CHARACTERS", "Door", "identify", "internal_key", "read_hops"]

MAX_ASSERTION_CHARACTERS: Final = 32 * 2**10  # all that a token of 16 KiB can say fits


@dataclass(frozen=True, slots=True)
class Door:
    """How a request came in: `bearer` is the principal of its verified token, `is_local` whether LOCAL may enter.

    stdio and in-process: `Door(is_local=True)`. HTTP and WebSocket: `is_local` on loopback without auth. Connections
    and event streams can outlive their token: it is believed until `ends_at`, in seconds since the epoch.
    """

    bearer: Principal | None = None
    is_local: bool = False
    ends_at: float = math.inf


def identify(
    meta: Mapping[str, object] | None, door: Door, *, audiences: Collection[str], key: bytes | None, now: float
) -> Principal:
    """The principal of a request with this `_meta`. `now` is seconds since the epoch, `key` STOA_INTERNAL_KEY if set.

    Raises `Denied` for a wrong assertion (while a key is set; otherwise it counts for nothing) and for nobody at all.
    """
    if key is not None and meta is not None and PRINCIPAL_KEY in meta:
        assertion = meta[PRINCIPAL_KEY]
        if not isinstance(assertion, str) or len(assertion) > MAX_ASSERTION_CHARACTERS:
            raise Denied("The caller's assertion is not one of ours.")
        return verify_assertion(assertion, audiences=audiences, key=key, now=now)
    if door.bearer is not None:
        if now >= door.ends_at:
            raise Denied("The token of this connection has expired.", hint="Connect again with a new one.")
        return door.bearer
    if door.is_local:
        return LOCAL
    raise Denied("The request does not say who calls.", hint="Send a bearer token.")


def read_hops(meta: Mapping[str, object] | None) -> int:
    """How many servers the request has come through. Raises `BadInput` for nonsense, `Denied` beyond the limit."""
    hops = (meta or {}).get(HOPS_KEY, 0)
    if type(hops) is not int or hops < 0:
        raise BadInput(f"_meta[{HOPS_KEY!r}] has to be a whole number from 0 to {MAX_HOPS}.")
    if hops > MAX_HOPS:
        raise Denied(
            f"The call has come through more than {MAX_HOPS} servers.",
            hint="Look for servers that call each other in a circle.",
        )
    return hops


def internal_key(settings: Settings) -> bytes | None:
    """STOA_INTERNAL_KEY as bytes, or none. Raises `BadInput` where it is too short to protect anything."""
    if settings.internal_key is None:
        return None
    key = settings.internal_key.get_secret_value().encode()
    if len(key) < 32:
        raise BadInput(
            f"STOA_INTERNAL_KEY has {len(key)} bytes; it needs 32 or more.",
            hint='Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))".',
        )
    return key
