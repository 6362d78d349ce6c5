"""The tools that read events, and what is known of their types."""

from collections.abc import Sequence
from datetime import datetime

from eventlog.event import Filter, StreamId, StreamInfo
from kit.author import Server
from kit.call import current_call
from servers.events import arguments as given
from servers.events import schema
from servers.events.journal import Journal
from servers.events.pages import Asked, open_number, open_word, seal_page
from servers.events.scopes import READ, has_positions
from servers.events.shown import is_cut, show_events
from servers.events.types import Types
from stoa.errors import BadInput

__all__ = ["add_tools", "iso"]


def add_tools(server: Server, journal: Journal, types: Types) -> None:
    @server.tool(title="Read stream", scope=READ, read_only=True, idempotent=True)
    async def read_stream(
        stream: given.Stream,
        from_version: given.FromVersion = 1,
        to_version: given.ToVersion = None,
        backwards: given.Backwards = False,
        limit: given.Limit = 10,
        cursor: given.Cursor = None,
        detail: given.Detail = "brief",
    ) -> schema.StreamPage:
        """Read the events of one stream in the order of their versions, or the newest first (backwards)."""
        if to_version is not None and to_version < from_version:
            raise BadInput(
                f"to_version {to_version} is less than from_version {from_version}.",
                hint="Give the lower one as from_version; backwards=true begins at the other end.",
            )
        call, log = current_call(), await journal.log()
        id = StreamId(call.principal.tenant, stream)
        asked: Asked = [stream, from_version, to_version, backwards]
        first, last = from_version, to_version
        if cursor is not None:
            at = open_number(call, "read_stream", asked, cursor)
            first, last = (first, at) if backwards else (at, last)
        info = await log.stream_info(id)
        events = await log.read_stream(id, from_version=first, to_version=last, backwards=backwards, limit=limit)
        page = show_events(events, detail=detail, has_positions=has_positions(call.principal))
        then = _version_after(page, info, first, last, backwards=backwards)
        return schema.StreamPage(
            events=list(page),
            next_cursor=None if then is None else seal_page(call, "read_stream", asked, then),
            stream=stream,
            stream_version=info.version,
            first_version=info.first_version,
        )

    kinds = types  # `types` is an argument below

    @server.tool(title="Query events", scope=READ, read_only=True, idempotent=True)
    async def query_events(
        types: given.Types = None,
        stream_prefix: given.StreamPrefix = None,
        correlation_id: given.CorrelationId = None,
        since: given.Since = None,
        until: given.Until = None,
        order: given.Order = "newest_first",
        limit: given.Limit = 10,
        cursor: given.Cursor = None,
        detail: given.Detail = "brief",
    ) -> schema.EventPage:
        """Find events of all streams by type, stream, correlation and time; all conditions hold together."""
        call, log = current_call(), await journal.log()
        wanted = Filter(
            tenant=call.principal.tenant,
            types=tuple(types or ()),
            stream_prefix=stream_prefix,
            correlation_id=correlation_id,
            since=since,
            until=until,
        )
        asked: Asked = [types, stream_prefix, correlation_id, iso(since), iso(until), order]
        at = None if cursor is None else open_number(call, "query_events", asked, cursor)
        events = await (
            log.read_all(filter=wanted, limit=limit + 1, backwards=True, until=at)
            if order == "newest_first"
            else log.read_all(at or 0, filter=wanted, limit=limit + 1)
        )
        page = show_events(events[:limit], detail=detail, has_positions=has_positions(call.principal))
        more = len(events) > len(page) or is_cut(events)
        return schema.EventPage(
            events=list(page),
            next_cursor=seal_page(call, "query_events", asked, events[len(page) - 1].position) if more else None,
        )

    @server.tool(title="Describe event type", scope=READ, read_only=True, idempotent=True)
    async def describe_event_type(
        type: given.OptionalType = None, limit: given.Limit = 10, cursor: given.Cursor = None
    ) -> schema.EventTypeDescription:
        """Say what events of a type carry: its schemas by version, and which projections read it. Without a type, list
        those that are known or used."""
        call = current_call()
        if type is not None:
            return await kinds.describe(type, call.principal.tenant)
        after = "" if cursor is None else open_word(call, "describe_event_type", [], cursor)
        found = await kinds.summaries(call.principal.tenant, after=after, limit=limit + 1)
        page = list(found[:limit])
        more = seal_page(call, "describe_event_type", [], page[-1].event_type) if len(found) > limit else None
        return schema.EventTypeDescription(types=page, next_cursor=more)


def _version_after(
    page: Sequence[schema.EventOut], info: StreamInfo, first: int, last: int | None, *, backwards: bool
) -> int | None:
    """Where the next page goes on; None at the end."""
    if not page:
        return None
    if backwards:
        version = page[-1].version - 1
        return version if version >= max(first, info.first_version) else None
    version = page[-1].version + 1
    return version if version <= (info.version if last is None else min(last, info.version)) else None


def iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
