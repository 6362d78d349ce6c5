"""Event ids: UUIDs, 16 bytes in the database and 36 characters outside.

Fresh ones are of version 7 (RFC 9562 §5.7): they begin with the milliseconds since 1970, so that neighbours in time are
neighbours in the index. Ids of one append go up in its order.
"""

import os
import re
from collections.abc import Sequence
from typing import Final

from stoa.errors import BadInput

__all__ = ["ENTROPY_BYTES", "Entropy", "id_bytes", "id_text", "new_ids"]

ENTROPY_BYTES: Final = 8
"""For each id."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NUMBERED: Final = tuple((0x7000 | number).to_bytes(2, "big") for number in range(0x1000))
_VARIANT: Final = tuple(bytes([byte & 0x3F | 0x80]) for byte in range(256))


def new_ids(count: int, milliseconds: int, entropy: bytes) -> Sequence[bytes]:
    """`count` fresh ids (at most 4,096) of one moment, out of so many times `ENTROPY_BYTES` random bytes."""
    start = milliseconds.to_bytes(6, "big")
    return [
        start + _NUMBERED[at >> 3] + _VARIANT[entropy[at]] + entropy[at + 1 : at + 8]
        for at in range(0, ENTROPY_BYTES * count, ENTROPY_BYTES)
    ]


class Entropy:
    """Random bytes, fetched from the system in larger pieces: each fetch hands Python's lock to another thread, and an
    event loop that fetched some for every append would wait for it every time."""

    PIECE_BYTES: Final = 16_384

    def __init__(self) -> None:
        self._piece = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        start, end = self._used, self._used + count
        if end > len(self._piece):
            if count > self.PIECE_BYTES:
                return os.urandom(count)
            self._piece, start, end = os.urandom(self.PIECE_BYTES), 0, count
        self._used = end
        return self._piece[start:end]


def id_bytes(text: object) -> bytes:
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        raise BadInput(
            f"The event id {str(text)[:40]!r} is no UUID.",
            hint="Give 32 hexadecimal digits in groups of 8-4-4-4-12, or none to get a fresh one.",
        )
    return bytes.fromhex(text.replace("-", ""))


def id_text(id: bytes) -> str:
    digits = id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
