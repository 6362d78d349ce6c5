"""The tool that appends."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from eventlog.event import StreamId
from kit.author import Server
from kit.call import current_call
from kit.tracing import traceparent
from servers.events import arguments as given
from servers.events import schema
from servers.events.envelope import check_repeat, derived_id, new_events
from servers.events.journal import Journal
from servers.events.scopes import APPEND, has_positions

if TYPE_CHECKING:  # the log is imported when it is opened
    from collections.abc import Sequence

    from eventlog.event import Appended, NewEvent
    from eventlog.log import EventLog

__all__ = ["add_tools"]


def add_tools(server: Server, journal: Journal, *, reserved: Collection[str], key: bytes) -> None:
    """`key` is what the ids of events follow from, together with an idempotency key."""

    # not idempotent as such: without ids or a key the same call again is another event.
    @server.tool(title="Append events", scope=APPEND, read_only=False, idempotent=False)
    async def append_events(
        stream: given.Stream,
        events: given.Events,
        expected_version: given.ExpectedVersion = None,
        idempotency_key: given.IdempotencyKey = None,
    ) -> schema.AppendedEvents:
        """Append events to a stream, all of them or none. With expected_version, a stream that has gone on meanwhile is
        a conflict; the same event ids, or the same idempotency_key, again get the first answer and append nothing."""
        call = current_call()
        id = StreamId(call.principal.tenant, stream)
        new = new_events(
            id,
            events,
            principal=call.principal,
            traceparent=traceparent(),
            reserved=reserved,
            idempotency_key=idempotency_key,
            key=key,
        )
        log = await journal.log()
        done = await log.append_to(id, new, expected=expected_version)
        if done.is_repeat and idempotency_key is not None:
            await _check_repeat(log, done, new, next_id=derived_id(id, idempotency_key, len(new), key=key))
        return schema.AppendedEvents(
            stream=stream,
            first_version=done.first_version,
            version=done.version,
            event_ids=list(done.event_ids),
            is_repeat=done.is_repeat,
            position=done.position if has_positions(call.principal) else None,
        )


async def _check_repeat(log: "EventLog", done: "Appended", new: "Sequence[NewEvent]", *, next_id: str) -> None:
    # One more than were sent: a shorter request with the same key would otherwise look like the first one.
    first, after = done.first_version, done.version + 1
    stored = await log.read_stream(done.stream, from_version=first, to_version=after, limit=len(new) + 1)
    check_repeat([event for event in stored if event.version >= first], new, next_id=next_id)
