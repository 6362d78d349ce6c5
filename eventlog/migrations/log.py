"""Events, the streams they belong to, and the end of the log."""

from typing import Final

from eventlog.migrations.step import Migration

__all__ = ["LOG"]

LOG: Final = Migration(
    1,
    "log",
    (
        # One row: locked by whoever appends, so that positions are given in the order of commits and without a gap.
        """
        CREATE TABLE log (
            id {integer} PRIMARY KEY CHECK (id = 1),
            epoch {text} NOT NULL,
            position {integer} NOT NULL,
            recorded_us {integer} NOT NULL,
            streams {integer} NOT NULL
        ) {roomy}
        """,
        # Names that stand in every row of events are kept once; a few of them are known to every process.
        "CREATE TABLE tenant (pk {integer} PRIMARY KEY, name {text} NOT NULL UNIQUE)",
        "CREATE TABLE event_type (pk {integer} PRIMARY KEY, name {text} NOT NULL UNIQUE)",
        """
        CREATE TABLE stream (
            pk {integer} PRIMARY KEY,
            tenant {integer} NOT NULL REFERENCES tenant (pk),
            name {text} NOT NULL,
            version {integer} NOT NULL,
            first_version {integer} NOT NULL,
            last_position {integer} NOT NULL,
            created_us {integer} NOT NULL,
            updated_us {integer} NOT NULL,
            checksum {bytes} NOT NULL,
            UNIQUE (tenant, name)
        ) {roomy}
        """,
        # `digest` is empty until an event is erased: then it stands for the salt, data and metadata that are gone.
        """
        CREATE TABLE event (
            position {integer} PRIMARY KEY,
            stream {integer} NOT NULL,
            version {integer} NOT NULL,
            tenant {integer} NOT NULL,
            type {integer} NOT NULL,
            schema_version {integer} NOT NULL,
            event_id {bytes} NOT NULL,
            occurred_us {integer} NOT NULL,
            recorded_us {integer} NOT NULL,
            correlation_id {text},
            subject {bytes},
            salt {bytes},
            data {bytes},
            metadata {bytes},
            digest {bytes},
            checksum {bytes} NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX event_by_id ON event (event_id)",
        "CREATE UNIQUE INDEX event_of_stream ON event (stream, version)",
        "CREATE INDEX event_of_type ON event (tenant, type, position)",
        "CREATE INDEX event_of_correlation ON event (correlation_id, position) WHERE correlation_id IS NOT NULL",
        "CREATE INDEX event_of_subject ON event (subject, position) WHERE subject IS NOT NULL",
        # What stays of truncated events: enough for checkpoints, for repeats, and to compute their checksums again.
        """
        CREATE TABLE truncated (
            position {integer} PRIMARY KEY,
            stream {integer} NOT NULL,
            version {integer} NOT NULL,
            type {integer} NOT NULL,
            schema_version {integer} NOT NULL,
            event_id {bytes} NOT NULL,
            occurred_us {integer} NOT NULL,
            recorded_us {integer} NOT NULL,
            digest {bytes} NOT NULL,
            checksum {bytes} NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX truncated_by_id ON truncated (event_id)",
        "CREATE UNIQUE INDEX truncated_of_stream ON truncated (stream, version)",
    ),
)
