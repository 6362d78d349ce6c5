"""Keys of the people whom events are about."""

from typing import Final

from eventlog.migrations.step import Migration

__all__ = ["SUBJECTS"]

SUBJECTS: Final = Migration(
    4,
    "subjects",
    (
        # No names: `subject` is a keyed digest of tenant and name. `wrapped` opens with the key of the installation
        # only. Without it everything that was sealed for the subject is unreadable, for good; the row stays then.
        """
        CREATE TABLE subject_key (
            subject {bytes} PRIMARY KEY,
            wrapped {bytes},
            created_us {integer} NOT NULL,
            erased_us {integer}
        )
        """,
    ),
)
