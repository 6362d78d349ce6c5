"""The end of the log and the heads of streams, as a batch needs them: found in the database, or remembered.

What this process has written last is still true as long as the log ends where we left it: whoever appends moves its
end. So the heads of streams that are written to again and again are not asked for each time.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast, final

from eventlog.decide import End, StreamRow, Written
from eventlog.event import StreamId
from eventlog.postgres.names import NumberedNames
from eventlog.postgres.wire import Session
from stoa.errors import Fault

__all__ = ["Found", "Heads"]

MAX_REMEMBERED: Final = 20_000

_FIND: Final = """
SELECT log.position, log.recorded_us, log.streams, EXISTS (SELECT 1 FROM truncated), head.*
FROM log LEFT JOIN (
    SELECT stream.pk, stream.tenant, stream.name, version, first_version, last_position, created_us, updated_us,
        checksum
    FROM unnest($1::bigint[], $2::text[]) AS wanted (tenant, name)
    JOIN stream ON stream.tenant = wanted.tenant AND stream.name = wanted.name
) AS head ON true
WHERE log.id = 1
"""


class Found(NamedTuple):
    end: End
    streams: Mapping[StreamId, StreamRow]
    """Those that exist, among them all that were wanted."""
    has_truncated: bool


@final
class Heads:
    """Of one session, which holds the lock on the end of the log whenever it asks."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._position = -1
        self._streams: dict[StreamId, StreamRow] = {}

    async def find(self, wanted: Collection[StreamId], tenants: NumberedNames) -> Found:
        if len(self._streams) > MAX_REMEMBERED:
            self._streams = {}
        numbers = await tenants.find(self._session, {stream.tenant for stream in wanted})
        found = await self._look([stream for stream in wanted if stream not in self._streams], numbers)
        if found.end.position != self._position and self._streams:  # somebody else has appended
            self._streams = {}
            found = await self._look(wanted, numbers)
        self._streams.update(found.streams)
        self._position = found.end.position
        return Found(found.end, self._streams, found.has_truncated)

    def wrote(self, written: Written) -> None:
        """After the commit."""
        self._streams.update(written.heads)
        self._position = written.end.position

    async def _look(self, wanted: Collection[StreamId], numbers: Mapping[str, int]) -> Found:
        asked = [(numbers[stream.tenant], stream.name) for stream in wanted if stream.tenant in numbers]
        names = {numbers[stream.tenant]: stream.tenant for stream in wanted if stream.tenant in numbers}
        rows = await self._session.fetch(_FIND, [tenant for tenant, _ in asked], [name for _, name in asked])
        if not rows:
            raise Fault("The log has lost its end: the table log is empty.")
        position, recorded_us, streams, has_truncated, *_ = cast("Sequence[Any]", rows[0])
        heads = [StreamRow(*row[4:]) for row in cast("Sequence[Any]", rows) if row[4] is not None]
        return Found(
            End(position, recorded_us, streams),
            {StreamId(names[head.tenant], head.name): head for head in heads},
            has_truncated,
        )
