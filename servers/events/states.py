"""The tools that look at earlier moments, and the one that makes looking faster."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from eventlog.event import StreamId
from eventlog.projections.projection import DocumentProjection
from kit.author import Server
from kit.call import Call, current_call
from servers.events import arguments as given
from servers.events import schema
from servers.events.journal import Journal, Opened
from servers.events.pages import Asked, open_word, seal_page
from servers.events.reading import iso
from servers.events.scopes import APPEND, READ, has_positions, require_positions
from servers.events.shown import BRIEF_CHARACTERS, MAX_ANSWER_BYTES, Detail, show_changes, show_documents, show_value
from servers.events.telling import telling
from stoa.errors import BadInput

if TYPE_CHECKING:  # the log is imported when it is opened
    from eventlog.travel.moment import At

__all__ = ["add_tools"]

MAX_STATE_EVENTS: Final = 100_000
STATE_CHARACTERS: Final = 10 * BRIEF_CHARACTERS


def add_tools(server: Server, journal: Journal) -> None:
    @server.tool(title="State at a moment", scope=READ, read_only=True, idempotent=True)
    async def state_at(
        stream: given.OptionalStream = None,
        projection: given.OptionalProjection = None,
        prefix: given.Prefix = "",
        at_version: given.AtVersion = None,
        at_time: given.AtTime = None,
        at_position: given.AtPosition = None,
        compare_version: given.CompareVersion = None,
        compare_time: given.CompareTime = None,
        limit: given.Limit = 10,
        cursor: given.Cursor = None,
        detail: given.Detail = "brief",
    ) -> schema.State:
        """Say what the events of a stream, or of a projection, added up to at a version or time (now, if none is
        given), and what has changed since an earlier one."""
        if (stream is None) == (projection is None):
            raise BadInput("Give a stream or a projection.", hint="One of the two, e.g. stream='order-1001'.")
        call = current_call()
        require_positions(call.principal, at_position)
        opened = await journal.opened()
        from eventlog.travel.moment import At

        at = At(version=at_version, time=at_time, position=at_position)
        since = None
        if compare_version is not None or compare_time is not None:
            since = At(version=compare_version, time=compare_time)
        if stream is not None:
            if cursor is not None:
                raise BadInput("The state of a stream has no pages.", hint="Leave the cursor out.")
            return await _stream_state(opened, call, stream, at, since, detail)
        assert projection is not None
        asked: Asked = [projection, prefix, iso(at_time), at_position, iso(compare_time)]
        after = "" if cursor is None else open_word(call, "state_at", asked, cursor)
        fold = _documents_of(opened, projection)
        documents: Mapping[str, Mapping[str, Any]]
        changes = None
        from eventlog.travel.moment import NOW
        from eventlog.travel.replay import compare_documents, documents_at

        async with telling(call, "replayed", as_share=True) as tell:
            tenant, most = call.principal.tenant, MAX_STATE_EVENTS
            if since is not None:
                _, then, changes = await compare_documents(
                    opened.log, fold, tenant, since, at, prefix=prefix, max_events=most
                )
                documents = then.documents
            elif at == NOW:  # as it is served: nothing need be replayed
                found = await opened.projector.documents.list(
                    projection, tenant, prefix=prefix, after=after, limit=limit + 1
                )
                documents = {each.key: each.document for each in found}
            else:
                then = await documents_at(
                    opened.log, fold, tenant, at, prefix=prefix, max_events=most, on_progress=tell
                )
                documents = then.documents
        keys = [key for key in documents if key.encode() > after.encode()]
        sees = has_positions(call.principal)
        page = show_documents({key: documents[key] for key in keys[:limit]}, detail=detail, has_positions=sees)
        shown = None if changes is None else show_changes(changes, detail=detail, has_positions=sees)
        return schema.State(
            projection=projection,
            documents=list(page),
            changes=None if shown is None else list(shown),
            changes_cut=shown is not None and changes is not None and len(shown) < len(changes),
            next_cursor=seal_page(call, "state_at", asked, page[-1].key) if len(keys) > len(page) else None,
        )

    @server.tool(title="Replay", scope=READ, read_only=True, idempotent=True)
    async def replay(
        projection: given.Projection,
        after_position: given.After = 0,
        since: given.Since = None,
        until: given.AtTime = None,
        types: given.ReplayTypes = None,
        prefix: given.Prefix = "",
        max_events: given.MaxEvents = 100_000,
        limit: given.Limit = 10,
        detail: given.Detail = "brief",
    ) -> schema.Replayed:
        """Play the events again into a sandbox of a projection, from a moment on and of some types only, and show what
        they add up to. Nothing is kept, and the projection itself does not notice."""
        call = current_call()
        require_positions(call.principal, after_position or None)
        if since is not None and after_position:
            raise BadInput("There are since and after_position.", hint="Give one of the two.")
        if since is not None and until is not None and since > until:
            raise BadInput(
                f"The time range is empty: since {since.isoformat()} is after until {until.isoformat()}.",
                hint="Give the earlier time as since.",
            )
        opened = await journal.opened()
        fold = _documents_of(opened, projection)
        from eventlog.travel.moment import At
        from eventlog.travel.replay import replay as play

        start = after_position if since is None else await opened.log.position_at(_just_before(since))
        async with telling(call, "replayed", as_share=True) as tell:
            played = await play(
                opened.log,
                fold,
                tenant=call.principal.tenant,
                after=start,
                until=At(time=until),
                types=tuple(types or ()),
                max_events=max_events,
                on_progress=tell,
            )
        documents = played.sandbox.documents(call.principal.tenant)
        found = {key: each for key, each in documents.items() if key.startswith(prefix)}
        sees = has_positions(call.principal)
        return schema.Replayed(
            projection=projection,
            events=played.events,
            documents=list(show_documents(dict(list(found.items())[:limit]), detail=detail, has_positions=sees)),
            total=len(found),
            failed=len(played.sandbox.failed),
            is_complete=played.is_complete,
            position=played.position if sees else None,
        )

    # not read-only: a row is written. The events and what they add up to stay as they are.
    @server.tool(title="Create snapshot", scope=APPEND, read_only=False, idempotent=True)
    async def create_snapshot(stream: given.Stream) -> schema.SnapshotTaken:
        """Keep what the events of a stream add up to, so that its state is read faster from now on. A snapshot is also
        what older events of a stream can be removed behind."""
        opened = await journal.opened()
        from eventlog.aggregates.repository import Repository

        id = StreamId(current_call().principal.tenant, stream)
        version = await Repository(opened.log, opened.aggregates.of(id)).take_snapshot(id)
        return schema.SnapshotTaken(stream=stream, version=version)


async def _stream_state(
    opened: Opened, call: Call, stream: str, at: "At", since: "At | None", detail: Detail
) -> schema.State:
    from eventlog.travel.state import compare_states, state_at

    id = StreamId(call.principal.tenant, stream)
    aggregate = opened.aggregates.of(id)
    changes = None
    if since is None:
        then = await state_at(opened.log, aggregate, id, at, max_events=MAX_STATE_EVENTS)
    else:
        compared = await compare_states(opened.log, aggregate, id, since, at, max_events=MAX_STATE_EVENTS)
        then, changes = compared.after, compared.changes
    shown = None if changes is None else show_changes(changes, detail=detail, has_positions=True)
    state, preview = show_value(then.state, most=STATE_CHARACTERS if detail == "brief" else MAX_ANSWER_BYTES)
    return schema.State(
        stream=stream,
        version=then.version,
        recorded_at=then.recorded_at,
        state=state if then.version else None,
        state_preview=preview,
        changes=None if shown is None else list(shown),
        changes_cut=shown is not None and changes is not None and len(shown) < len(changes),
    )


def _documents_of(opened: Opened, name: str) -> DocumentProjection:
    projection = opened.projector.get(name)
    if not isinstance(projection, DocumentProjection):
        raise BadInput(
            f"The projection {name!r} keeps no documents here: its effect lies elsewhere.",
            hint="Call list_projections for those of kind 'documents'.",
        )
    return projection


def _just_before(at: datetime) -> datetime:
    """The log counts microseconds. Before the first one that there is, nothing was recorded either."""
    try:
        return at - timedelta(microseconds=1)
    except OverflowError:
        return at
