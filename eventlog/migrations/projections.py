"""Checkpoints, read models and dead letters of projections."""

from typing import Final

from eventlog.migrations.step import Migration

__all__ = ["PROJECTIONS"]

PROJECTIONS: Final = Migration(
    3,
    "projections",
    (
        # What people wish for a projection, whatever generation of it serves.
        """
        CREATE TABLE projection (
            name {text} PRIMARY KEY,
            kind {text} NOT NULL,
            is_paused {integer} NOT NULL,
            changed_us {integer} NOT NULL
        )
        """,
        # A generation is one fold of the log from position 0 on. `revision` goes up with every write that depends on
        # what was read before: whoever was overtaken finds another revision, and nothing of that write stays.
        """
        CREATE TABLE projection_generation (
            pk {integer} PRIMARY KEY,
            name {text} NOT NULL,
            version {integer} NOT NULL,
            state {text} NOT NULL,
            reason {text} NOT NULL,
            stale {text},
            revision {integer} NOT NULL,
            position {integer} NOT NULL,
            checksum {bytes} NOT NULL,
            epoch {text} NOT NULL,
            born_position {integer} NOT NULL,
            applied {integer} NOT NULL,
            failures {integer} NOT NULL,
            is_reset {integer} NOT NULL,
            owner {text},
            lease_us {integer} NOT NULL,
            created_us {integer} NOT NULL,
            updated_us {integer} NOT NULL
        )
        """,
        "CREATE INDEX projection_generation_by_name ON projection_generation (name, state)",
        "CREATE UNIQUE INDEX projection_serving ON projection_generation (name) WHERE state = 'serving'",
        "CREATE UNIQUE INDEX projection_building ON projection_generation (name) WHERE state = 'building'",
        # The key as bytes: so both databases sort it the same, and a prefix is a range.
        """
        CREATE TABLE projection_document (
            generation {integer} NOT NULL,
            tenant {text} NOT NULL,
            key {bytes} NOT NULL,
            document {bytes} NOT NULL,
            position {integer} NOT NULL,
            PRIMARY KEY (generation, tenant, key)
        )
        """,
        # A stream waits here from its event `version` on; its later events lie in the log. Without `retry_us` it waits
        # for a person: a dead letter.
        """
        CREATE TABLE projection_parked (
            generation {integer} NOT NULL,
            tenant {text} NOT NULL,
            stream {text} NOT NULL,
            version {integer} NOT NULL,
            position {integer} NOT NULL,
            event_type {text} NOT NULL,
            attempts {integer} NOT NULL,
            retry_us {integer},
            reason {text} NOT NULL,
            first_us {integer} NOT NULL,
            last_us {integer} NOT NULL,
            PRIMARY KEY (generation, tenant, stream)
        )
        """,
    ),
)
