"""The outbox in this server's own database: rows go in with what they tell of, the relay takes them out."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session

from eventlog.event import NewEvent, StreamId
from eventlog.outbox import OutboxRow, row_of
from servers.content.database import Database, Value, ask

__all__ = ["ContentOutbox", "put_in"]


def put_in(session: Session, events: Sequence[tuple[StreamId, NewEvent]], now: datetime) -> None:
    """Part of the caller's transaction."""
    for stream, event in events:
        row = row_of(stream, event, now=now)
        ask(session)(
            "INSERT INTO outbox (event_id, tenant, stream, type, schema_version, data, metadata, occurred_us) VALUES"
            " (:event_id, :tenant, :stream, :type, :schema_version, :data, :metadata, :occurred_us)",
            {
                "event_id": row.event_id,
                "tenant": row.tenant,
                "stream": row.stream,
                "type": row.type,
                "schema_version": row.schema_version,
                "data": row.data,
                "metadata": row.metadata,
                "occurred_us": row.occurred_us,
            },
        )


class ContentOutbox:
    """See `eventlog.outbox.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<ContentOutbox in {self._database!r}>"

    async def waiting(self, limit: int) -> Sequence[OutboxRow]:
        rows = await self._database.read(
            lambda session: ask(session)(
                "SELECT seq, event_id, tenant, stream, type, schema_version, data, metadata, occurred_us"
                " FROM outbox AS waiting WHERE NOT EXISTS (SELECT 1 FROM outbox AS stuck WHERE stuck.refused IS NOT"
                " NULL AND stuck.tenant = waiting.tenant AND stuck.stream = waiting.stream) ORDER BY seq LIMIT :limit",
                {"limit": limit},
            )
        )
        return [OutboxRow.read(row) for row in rows]

    async def remove(self, seqs: Sequence[int]) -> None:
        def work(session: Session) -> None:
            for seq in seqs:
                ask(session)("DELETE FROM outbox WHERE seq = :seq", {"seq": seq})

        await self._database.write(work)

    async def refuse(self, seq: int, reason: str) -> None:
        values: dict[str, Value] = {"seq": seq, "reason": reason}
        await self._database.write(
            lambda session: ask(session)("UPDATE outbox SET refused = :reason WHERE seq = :seq", values)
        )

    async def forgive(self) -> None:
        def work(session: Session) -> None:
            ask(session)("UPDATE outbox SET refused = NULL WHERE refused IS NOT NULL", {})

        await self._database.write(work)
