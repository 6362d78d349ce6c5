"""Keys of subjects, in a table that is not part of the log: one key for each person of a tenant."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from eventlog.database import Database
from eventlog.subjects.sealing import SubjectKey

__all__ = ["SubjectKeys"]


class SubjectKeys:
    """Makes, finds and destroys the keys of subjects. `master` is `stoa.home.secret_key(settings)`: keys lie wrapped in
    the table, and names as keyed digests.

    Nothing is remembered between calls: a key that another process has destroyed is gone here too, at once.
    """

    def __init__(self, database: Database, master: bytes) -> None:
        raise NotImplementedError

    def subject_id(self, tenant: str, name: str) -> bytes:
        """How a subject is called in the log: 16 bytes that tell nothing. Raises `BadInput` for a name that is empty,
        too long or not printable."""
        raise NotImplementedError

    async def for_writing(self, tenant: str, names: Collection[str]) -> Mapping[str, SubjectKey]:
        """A key for each name; made now for whom there is none."""
        raise NotImplementedError

    async def unseal(
        self, rows: Iterable[tuple[bytes, bytes | None, bytes | None]]
    ) -> Sequence[tuple[bytes | None, bytes | None]]:
        """Data and metadata of a page of sealed rows (event id, data, metadata), with the keys of the page loaded at
        once. Where a key is gone, both are None: the event reads as erased. Raises `Fault` for bytes that a key which
        is there does not open."""
        raise NotImplementedError

    async def destroy(self, tenant: str, name: str) -> bool:
        """Delete the key of a subject; what was sealed under it can never be read again. False when there is none."""
        raise NotImplementedError
