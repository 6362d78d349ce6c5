"""Keys of the people whom events are about."""

from typing import Final

from eventlog.migrations.step import Migration

__all__ = ["SUBJECTS"]

SUBJECTS: Final = Migration(
    4,
    "subjects",
    (
        # No names: `subject` is a keyed digest of tenant and name. `wrapped` opens with the key of the installation
        # only. A row that is deleted makes everything that was sealed under its key unreadable, for good.
        """
        CREATE TABLE subject_key (
            subject {bytes} PRIMARY KEY,
            key_id {bytes} NOT NULL UNIQUE,
            wrapped {bytes} NOT NULL,
            created_us {integer} NOT NULL
        )
        """,
    ),
)
