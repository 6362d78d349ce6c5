"""Opaque cursors: a page's state, signed and hidden, so that every replica opens what another one has sealed.

A cursor is `base64url(version, hidden JSON of the state, MAC)`. Kind and tenant are not in it but in what the MAC
covers: a cursor of another tenant or of another listing does not open, and neither tells what is wrong with it. The
state is hidden, because places in a log or table that several tenants share tell how much the others write. It is
hidden under a mask made from the MAC (a synthetic IV, as in RFC 5297): the same state gives the same cursor, and no
mask covers two states.
"""

import base64
import hashlib
import hmac
import json
from typing import Final

from pydantic import JsonValue

from stoa.errors import BadInput

__all__ = ["MAX_CURSOR_CHARACTERS", "Cursors", "derive"]

MAX_CURSOR_CHARACTERS: Final = 4096

VERSION: Final = b"\x02"
MAC_BYTES: Final = 16


def derive(key: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose from the key that all replicas share: HKDF with SHA-256 and one block (RFC 5869)."""
    extracted = hmac.digest(b"stoa", key, "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")


class Cursors:
    """Seals and opens cursors; made from `stoa.home.secret_key(settings)`."""

    def __init__(self, key: bytes) -> None:
        self._key = derive(key, "cursor")
        self._masking = derive(key, "cursor mask")

    def __repr__(self) -> str:
        return "<Cursors>"

    def seal(self, kind: str, tenant: str, state: JsonValue) -> str:
        """The cursor for a state. Raises `ValueError` for a state that is no JSON or too long to hand out."""
        body = json.dumps(state, separators=(",", ":"), allow_nan=False).encode()
        mac = self._mac(kind, tenant, body)
        cursor = base64.urlsafe_b64encode(VERSION + self._masked(body, mac) + mac).rstrip(b"=").decode("ascii")
        if len(cursor) > MAX_CURSOR_CHARACTERS:
            raise ValueError(f"a cursor of {len(cursor)} characters is longer than {MAX_CURSOR_CHARACTERS}")
        return cursor

    def open(self, kind: str, tenant: str, cursor: str) -> JsonValue:
        """The state in a cursor. Raises `BadInput` unless it was sealed with our key for this kind and tenant."""
        sealed = _decode(cursor)
        mac = sealed[-MAC_BYTES:]
        body = self._masked(sealed[len(VERSION) : -MAC_BYTES], mac)
        if not sealed.startswith(VERSION) or not hmac.compare_digest(mac, self._mac(kind, tenant, body)):
            raise BadInput(
                "The cursor does not belong to this listing.",
                hint="Pass next_cursor of the page before unchanged, or leave cursor out to start from the beginning.",
            )
        return json.loads(body)

    def _masked(self, body: bytes, mac: bytes) -> bytes:
        """Hidden if it was plain, plain if it was hidden."""
        mask = hashlib.shake_256(self._masking + mac).digest(len(body))
        return bytes(a ^ b for a, b in zip(body, mask, strict=True))

    def _mac(self, kind: str, tenant: str, body: bytes) -> bytes:
        # Lengths go first so that no two (kind, tenant) pairs can be written as the same bytes.
        words = [word.encode("utf-8", "surrogatepass") for word in (kind, tenant)]
        head = b"".join(len(word).to_bytes(4, "big") + word for word in words)
        return hmac.digest(self._key, VERSION + head + body, "sha256")[:MAC_BYTES]


def _decode(cursor: str) -> bytes:
    """The bytes of a cursor, or none where it cannot be ours: then the signature does not fit either."""
    if len(cursor) > MAX_CURSOR_CHARACTERS:
        return b""
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return b""
    # One cursor has one spelling: unused bits at the end may not be set.
    return sealed if base64.urlsafe_b64encode(sealed).rstrip(b"=") == cursor.encode("ascii", "replace") else b""
