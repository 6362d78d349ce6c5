"""The schema, as the steps that lead to it. Steps are only ever added; a step that was published never changes.

`PRAGMA user_version` holds the number of steps a file has been through. `application_id` marks the file as ours.
"""

from typing import Final

__all__ = ["APPLICATION_ID", "MIGRATIONS"]

APPLICATION_ID: Final = 0x53744F63  # "StOc"

_FIRST: Final = (
    """
    CREATE TABLE document (
        pk INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        name TEXT,
        title TEXT NOT NULL,
        media_type TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        version INTEGER NOT NULL,
        characters INTEGER NOT NULL,
        chunks INTEGER NOT NULL,
        tags TEXT NOT NULL,
        created_at DATETIME NOT NULL,
        updated_at DATETIME NOT NULL,
        UNIQUE (tenant, sha256),
        UNIQUE (tenant, name)
    )
    """,
    "CREATE INDEX document_of_tenant ON document (tenant, pk)",
    """
    CREATE TABLE document_text (
        document INTEGER PRIMARY KEY REFERENCES document (pk) ON DELETE CASCADE,
        tenant TEXT NOT NULL,
        markdown TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE chunk (
        pk INTEGER PRIMARY KEY AUTOINCREMENT,
        document INTEGER NOT NULL REFERENCES document (pk) ON DELETE CASCADE,
        tenant TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL,
        heading TEXT NOT NULL,
        UNIQUE (document, ordinal)
    )
    """,
    # `tenant` holds a number made from the tenant (`search.tenant_word`), so that the index itself skips the others'
    # rows; who may see a row is decided by chunk.tenant.
    """
    CREATE VIRTUAL TABLE chunk_index USING fts5(tenant, title, heading, body, tokenize = 'porter unicode61')
    """,
    """
    CREATE TABLE idempotency (
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        answer TEXT NOT NULL,
        recorded_at DATETIME NOT NULL,
        PRIMARY KEY (tenant, key)
    )
    """,
)

# What is to be told to the event log (`eventlog.outbox`).
_SECOND: Final = (
    """
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        stream TEXT NOT NULL,
        type TEXT NOT NULL,
        schema_version INTEGER,
        data TEXT NOT NULL,
        metadata TEXT NOT NULL,
        occurred_us BIGINT NOT NULL,
        refused TEXT
    )
    """,
    "CREATE INDEX outbox_refused ON outbox (tenant, stream) WHERE refused IS NOT NULL",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _SECOND)
