"""Keys of the people whom events are about."""

from typing import Final

from eventlog.migrations.step import Migration

__all__ = ["SUBJECTS"]

SUBJECTS: Final = Migration(4, "subjects", ())
