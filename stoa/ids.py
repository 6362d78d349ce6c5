"""Sortable identifiers: 48 bits of milliseconds and 80 random bits, 26 characters (the ULID layout).

https://github.com/ulid/spec; ids of one process made within a millisecond are not ordered among themselves.
"""

import os
from datetime import UTC, datetime, timedelta

__all__ = ["new_id"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(now: datetime | None = None, *, entropy: bytes | None = None) -> str:
    """A fresh id; `now` and `entropy` (10 bytes) are given where the caller has to be repeatable."""
    # Whole milliseconds by integers: a float of seconds rounds some of them down by one.
    milliseconds = ((now or datetime.now(UTC)) - _EPOCH) // timedelta(milliseconds=1)
    number = milliseconds << 80 | int.from_bytes(entropy if entropy is not None else os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
