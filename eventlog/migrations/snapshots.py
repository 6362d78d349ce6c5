"""Snapshots of aggregates."""

from typing import Final

from eventlog.migrations.step import Migration

__all__ = ["SNAPSHOTS"]

SNAPSHOTS: Final = Migration(
    2,
    "snapshots",
    (
        # `fold` names what the state was made with (the aggregate and its version): another one does not read it.
        # `checksum` is that of the event at `version`: a snapshot of another history does not fit. `state` is JSON,
        # compressed with zstd; `digest` covers all of it.
        """
        CREATE TABLE snapshot (
            stream {integer} NOT NULL REFERENCES stream (pk),
            fold {text} NOT NULL,
            version {integer} NOT NULL,
            position {integer} NOT NULL,
            checksum {bytes} NOT NULL,
            state {bytes} NOT NULL,
            state_bytes {integer} NOT NULL,
            digest {bytes} NOT NULL,
            created_us {integer} NOT NULL,
            PRIMARY KEY (stream, fold, version)
        )
        """,
    ),
)
