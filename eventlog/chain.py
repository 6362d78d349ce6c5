"""What makes tampering visible: each event's checksum covers the one before it in its stream.

    digest   = SHA-256(salt ‖ length of data as 4 bytes ‖ data ‖ metadata)
    checksum = SHA-256(checksum of the version before ‖ digest ‖ envelope)

Before version 1 stand 32 zero bytes. Numbers are big-endian. When an event is erased, its digest is kept and the salt
goes: nobody can tell any more from the digest what the data was, and the chain still holds.
"""

import hashlib
import struct
from typing import Final

__all__ = ["SALT_BYTES", "START", "checksum", "digest", "envelope_tail"]

SALT_BYTES: Final = 16
START: Final = bytes(32)

_LENGTH: Final = struct.Struct(">I")
_NUMBERS: Final = struct.Struct(">qqqqq")


def digest(salt: bytes, data: bytes, metadata: bytes) -> bytes:
    return hashlib.sha256(b"".join((salt, _LENGTH.pack(len(data)), data, metadata))).digest()


def envelope_tail(tenant: str, stream: str, type: str) -> bytes:
    """The words of the envelope, each with its length before it; the same for many events."""
    a, b, c = tenant.encode(), stream.encode(), type.encode()
    return b"".join((_LENGTH.pack(len(a)), a, _LENGTH.pack(len(b)), b, _LENGTH.pack(len(c)), c))


def checksum(
    before: bytes,
    digest: bytes,
    *,
    position: int,
    version: int,
    schema_version: int,
    occurred_us: int,
    recorded_us: int,
    event_id: bytes,
    tail: bytes,
) -> bytes:
    numbers = _NUMBERS.pack(position, version, schema_version, occurred_us, recorded_us)
    return hashlib.sha256(b"".join((before, digest, numbers, event_id, tail))).digest()
