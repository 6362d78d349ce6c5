"""How data of a subject lies in the log: AES-256-GCM, bound to its event. Pure; no table is touched here.

    sealed = 0x01 ‖ subject (16 bytes) ‖ nonce (12) ‖ ciphertext ‖ tag (16)

The subject is in it because the digest of an event covers its data: a row whose column names another subject is noticed
without any key. The event's id is authenticated too, so nothing sealed can be moved to another event.
"""

import hmac
import os
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stoa.errors import BadInput, Fault

__all__ = ["MAX_SUBJECT", "SEALING_BYTES", "Master", "SubjectKey", "subject_in"]

MAX_SUBJECT: Final = 200
"""Characters of a subject's name."""

_FORMAT: Final = b"\x01"
_SUBJECT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_HEADER: Final = len(_FORMAT) + _SUBJECT_BYTES
SEALING_BYTES: Final = _HEADER + _NONCE_BYTES + 16
"""By how much data grows when it is sealed."""


@final
class SubjectKey:
    """The key of one subject; `subject` is what stands in the rows of its events."""

    __slots__ = ("_cipher", "subject")

    def __init__(self, subject: bytes, key: bytes) -> None:
        self.subject = subject
        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return f"<SubjectKey of {self.subject.hex()}>"

    def seal(self, data: bytes, event_id: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        header = _FORMAT + self.subject
        return b"".join((header, nonce, self._cipher.encrypt(nonce, data, header + event_id)))

    def open(self, sealed: bytes, event_id: bytes) -> bytes:
        """Raises `Fault` for what was not sealed with this key for this event."""
        header, nonce = sealed[:_HEADER], sealed[_HEADER : _HEADER + _NONCE_BYTES]
        # The header is authenticated as it ought to be: another one does not open.
        about = _FORMAT + self.subject + event_id
        try:
            if header + event_id == about:
                return self._cipher.decrypt(nonce, sealed[_HEADER + _NONCE_BYTES :], about)
        except (InvalidTag, ValueError):  # ValueError: cut off before the end of the nonce
            pass
        raise Fault(
            "Data of a subject does not open with the subject's key.",
            hint="The log was changed in the database (`stoa events verify` names the place), or the keys of subjects"
            " were lost and this one made anew: put them back from a backup.",
        )


def subject_in(sealed: bytes) -> bytes | None:
    """Whose key it was sealed with; None for bytes that are not sealed at all (JSON begins with a brace)."""
    return sealed[len(_FORMAT) : _HEADER] if sealed.startswith(_FORMAT) and len(sealed) >= SEALING_BYTES else None


@final
class Master:
    """What the one key of an installation is used for here: to name subjects, and to wrap their keys."""

    __slots__ = ("_names", "_wrapping")

    def __init__(self, key: bytes) -> None:
        self._names = _derive(key, b"subject names")
        self._wrapping = AESGCM(_derive(key, b"subject keys"))

    def __repr__(self) -> str:
        return "<Master>"

    def subject_id(self, tenant: str, name: str) -> bytes:
        """How a subject is called in the log. Raises `BadInput` for a name that cannot be one."""
        if not 0 < len(name) <= MAX_SUBJECT or not name.isprintable():
            raise BadInput(
                "The name of the subject cannot be used.",
                hint=f"Give 1 to {MAX_SUBJECT} printable characters, best an id and no real name.",
            )
        words = (tenant.encode(), name.encode())
        # Lengths go first so that no two (tenant, name) pairs can be written as the same bytes.
        return hmac.digest(self._names, b"".join(len(word).to_bytes(4, "big") + word for word in words), "sha256")[
            :_SUBJECT_BYTES
        ]

    def new_key(self, subject: bytes) -> bytes:
        """A fresh key, wrapped."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, AESGCM.generate_key(256), subject)

    def unwrap(self, subject: bytes, wrapped: bytes) -> SubjectKey:
        """Raises `Fault` for a key that was wrapped by another installation."""
        try:
            key = self._wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], subject)
        except (InvalidTag, ValueError) as error:
            raise Fault(
                "The key of a subject does not open with this installation's secret key.",
                hint="Set STOA_SECRET_KEY (or put back the file secret.key) as it was when the key was made.",
            ) from error
        return SubjectKey(subject, key)


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=b"stoa", info=purpose).derive(key)
