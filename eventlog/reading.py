"""Rows of the table `event` to events: the one place where that is done. It remembers names and opens sealed data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, cast, final

from eventlog.database import Database, Row, Value
from eventlog.event import MAX_DATA_BYTES, Event, StreamId
from eventlog.ids import id_text
from eventlog.schemas import TypeRegistry
from eventlog.sealing import SubjectKey, SubjectKeys
from stoa.errors import BadInput, Fault

__all__ = ["COLUMNS", "DATA", "FROM", "MAX_PAGE_BYTES", "Reading"]

COLUMNS: Final = (
    "e.position, e.tenant, s.name, e.version, e.type, e.schema_version, e.event_id, e.data, e.metadata, e.occurred_us,"
    " e.recorded_us, e.checksum, e.subject"
)
FROM: Final = "event e CROSS JOIN stream s"
"""With `s.pk = e.stream` among the conditions. SQLite takes the tables of a CROSS JOIN in this order; else it might
begin with the streams and sort all their events."""
MAX_PAGE_BYTES: Final = 32 * 2**20
"""Of the data in one page, which then has fewer events than asked for."""

_ALWAYS_FITS: Final = MAX_PAGE_BYTES // MAX_DATA_BYTES
_NAMES: Final = COLUMNS.replace("e.", "").replace("s.name", "name")

_TENANT, _TYPE, DATA, _SUBJECT = 1, 4, 7, 12

_Raw = tuple[
    int, int, str, int, int, int, bytes, bytes | None, bytes | None, int, int, bytes, bytes | None
]  # fmt: skip


@final
class Reading:
    def __init__(self, database: Database, types: TypeRegistry, keys: SubjectKeys | None) -> None:
        self._database = database
        self._types = types
        self._keys = keys
        self._tenant_names: dict[int, str] = {}
        self._type_names: dict[int, str] = {}
        self._upcasters: dict[tuple[int, int], Callable[[dict[str, Any]], dict[str, Any]] | None] = {}

    def __repr__(self) -> str:
        return f"<Reading, {len(self._tenant_names)} tenants and {len(self._type_names)} types known>"

    async def events(self, rows: Sequence[Row]) -> list[Event]:
        """Of rows that have `COLUMNS`. Raises `BadInput` for sealed data where the log was opened without keys: to say
        that it is erased would not be true."""
        raw = cast("Sequence[_Raw]", rows)
        tenants, types = self._tenant_names, self._type_names
        if not tenants.keys() >= {row[_TENANT] for row in raw}:
            await self._learn("tenant", tenants, {row[_TENANT] for row in raw})
        if not types.keys() >= {row[_TYPE] for row in raw}:
            await self._learn("event_type", types, {row[_TYPE] for row in raw})
        sealed = {subject for row in raw if (subject := row[_SUBJECT]) is not None}
        keys: Mapping[bytes, SubjectKey] = {}
        if sealed:
            if self._keys is None:
                raise BadInput(
                    "There is data about subjects among these events, and the log was opened without their keys.",
                    hint="Open it as Stoa does, with its secret key.",
                )
            keys = await self._keys.for_opening(sealed)

        upcasters = self._upcasters
        streams: dict[tuple[int, str], StreamId] = {}
        events: list[Event] = []
        for (
            position,
            tenant,
            name,
            version,
            type,
            schema,
            event_id,
            data,
            metadata,
            occurred_us,
            recorded_us,
            checksum,
            subject,
        ) in raw:
            stream = streams.get((tenant, name))
            if stream is None:
                stream = streams[tenant, name] = StreamId(tenants[tenant], name)
            if (type, schema) not in upcasters:
                upcasters[type, schema] = self._types.upcaster(types[type], schema)
            upcast = upcasters[type, schema]
            if subject is not None and data is not None:
                try:
                    data = _opened(keys.get(subject), data, event_id)
                except Fault as error:  # whoever asks for this data is told; all others read on
                    data, upcast = b"{}", _refusal(error)
                if data is None:  # its key is gone: erased, as far as anybody can tell
                    metadata = None
            events.append(
                Event(
                    position,
                    stream,
                    version,
                    types[type],
                    schema,
                    id_text(event_id),
                    data,
                    metadata,
                    occurred_us,
                    recorded_us,
                    checksum,
                    upcast,
                    is_personal=subject is not None,
                )
            )
        return events

    async def rows(
        self, where: str, values: Sequence[Value], *, by: Literal["position", "version"], backwards: bool, limit: int
    ) -> Sequence[Row]:
        """Up to `limit` rows with `COLUMNS` that meet conditions on `event e` and `stream s`, fewer when they are
        large; none only when there is none."""
        order = "DESC" if backwards else "ASC"
        rest = f" FROM {FROM} WHERE s.pk = e.stream AND {where} ORDER BY e.{by} {order} LIMIT {limit:d}"
        sql = f"SELECT {COLUMNS}{rest}"
        if limit > _ALWAYS_FITS:
            # Asking beforehand costs less than the running sum, which is needed once in a blue moon.
            sizes = f"SELECT sum(n) FROM (SELECT coalesce(length(e.data), 0) AS n{rest}) AS sizes"  # noqa: S608 - parts of ours, values by marks
            ((size,),) = cast("Sequence[tuple[int | None]]", await self._database.fetch(sizes, *values))
            if size is not None and size > MAX_PAGE_BYTES:
                running = f"sum(coalesce(length(p.data), 0)) OVER (ORDER BY p.{by} {order})"
                sql = (
                    f"SELECT {_NAMES} FROM (SELECT p.*, {running} AS bytes FROM ({sql}) AS p) AS q"  # noqa: S608 - as above
                    f" WHERE q.bytes <= {MAX_PAGE_BYTES} ORDER BY q.{by} {order}"
                )
        return await self._database.fetch(sql, *values)

    async def _learn(self, table: str, known: dict[int, str], wanted: set[int]) -> None:
        missing = ", ".join([str(pk) for pk in sorted(wanted - known.keys())])
        sql = f"SELECT pk, name FROM {table} WHERE pk IN ({missing})"  # noqa: S608 - numbers out of the database
        known.update(cast("Sequence[tuple[int, str]]", await self._database.fetch(sql)))


def _refusal(error: Fault) -> Callable[[dict[str, Any]], dict[str, Any]]:
    message, hint = error.message, error.hint

    def refuse(_: dict[str, Any]) -> dict[str, Any]:
        raise Fault(message, hint=hint)

    return refuse


def _opened(key: SubjectKey | None, sealed: bytes, event_id: bytes) -> bytes | None:
    return None if key is None else key.open(sealed, event_id)
