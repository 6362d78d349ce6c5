"""The seam to keys of persons: data about a subject is sealed before it is appended, and opened when it is read."""

from collections.abc import Collection, Mapping
from typing import Protocol

__all__ = ["SubjectKey", "SubjectKeys"]


class SubjectKey(Protocol):
    @property
    def subject(self) -> bytes:
        """The keyed digest that stands for the subject in the log."""
        ...

    def seal(self, data: bytes, event_id: bytes) -> bytes: ...

    def open(self, sealed: bytes, event_id: bytes) -> bytes: ...


class SubjectKeys(Protocol):
    def subject_id(self, tenant: str, name: str) -> bytes:
        """How a subject is called in the log. Raises `BadInput` for a name that cannot be one."""
        ...

    async def for_sealing(self, wanted: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], SubjectKey]:
        """A key for each (tenant, subject); made where there is none yet. Raises `Conflict` for an erased subject."""
        ...

    async def for_opening(self, subjects: Collection[bytes]) -> Mapping[bytes, SubjectKey]:
        """The keys that still exist, by the digest in the log: without its key, data is gone for good."""
        ...

    async def destroy(self, tenant: str, name: str) -> bool:
        """Destroy the key of a subject, for good. False when there is none (any more)."""
        ...
