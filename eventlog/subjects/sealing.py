"""How data of a subject lies in the log: AES-256-GCM, bound to its event. Pure; no table is touched here."""

from dataclasses import dataclass, field

__all__ = ["SubjectKey"]


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """The key of one subject; `subject` is what stands in the row of an event."""

    subject: bytes
    key_id: bytes
    key: bytes = field(repr=False)

    def seal(self, event_id: bytes, data: bytes, metadata: bytes, correlation_id: str | None) -> tuple[bytes, bytes]:
        """Data and metadata as they are to be stored (and digested) in the event with this id."""
        raise NotImplementedError
