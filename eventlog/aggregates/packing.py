"""A state as it lies in the table of snapshots: JSON, compressed with zstd, under a digest. Pure.

What comes back is never trusted: the size is bounded before anything is unpacked, and the digest covers the place too,
so that a row that was damaged, cut or moved is told from a good one.
"""

import hashlib
import struct
import sys
from typing import Final

from eventlog.aggregates.aggregate import MAX_STATE_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    import backports.zstd as zstd

__all__ = ["NotASnapshot", "digest", "pack", "unpack"]

LEVEL: Final = 3
"""Of zstd: the default; higher ones cost more time than a snapshot saves."""
MAX_PACKED_BYTES: Final = MAX_STATE_BYTES + 2**16

_NUMBERS: Final = struct.Struct(">qqqI")


class NotASnapshot(Exception):
    """Why the bytes cannot be used, as words for people."""


def pack(state: bytes) -> bytes:
    return zstd.compress(state, level=LEVEL)


def unpack(packed: bytes, size: int) -> bytes:
    """The JSON, whose size is known. Raises `NotASnapshot`; never makes more than `size` bytes."""
    if len(packed) > MAX_PACKED_BYTES or not 0 < size <= MAX_STATE_BYTES:
        raise NotASnapshot(f"it would have {size:,} bytes")
    try:
        decompressor = zstd.ZstdDecompressor()
        # One byte more than there should be tells that there are more.
        state = decompressor.decompress(packed, max_length=size + 1)
    except zstd.ZstdError as error:
        raise NotASnapshot("it cannot be unpacked") from error
    if len(state) != size or not decompressor.eof or decompressor.unused_data:
        raise NotASnapshot("it has another size than it says")
    return state


def digest(stream: int, fold: str, version: int, position: int, checksum: bytes, state: bytes) -> bytes:
    """Of the JSON and of all that says what it is a state of."""
    name = fold.encode()
    numbers = _NUMBERS.pack(stream, version, position, len(name))
    return hashlib.sha256(b"".join((numbers, name, checksum, state))).digest()
