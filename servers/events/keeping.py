"""The tools for what the log holds about a person."""

from contextlib import aclosing

from eventlog.event import Event, Metadata
from kit.author import Server
from kit.call import current_call
from kit.tracing import traceparent
from servers.events import arguments as given
from servers.events import schema
from servers.events.envelope import SOURCE
from servers.events.journal import Journal
from servers.events.pages import Asked, open_number, seal_page
from servers.events.scopes import ADMIN, has_positions
from servers.events.shown import show_events
from servers.events.telling import telling

__all__ = ["add_tools"]


def add_tools(server: Server, journal: Journal) -> None:
    @server.tool(title="Export subject", scope=ADMIN, read_only=True, idempotent=True)
    async def export_subject(
        subject: given.Subject,
        limit: given.Limit = 10,
        cursor: given.Cursor = None,
        detail: given.Detail = "full",
    ) -> schema.ExportedSubject:
        """Return all that the log holds about a person: the events that were appended with this subject."""
        call, log = current_call(), await journal.log()
        from eventlog.subjects.export import export_subject as export

        asked: Asked = [subject]
        after = 0 if cursor is None else open_number(call, "export_subject", asked, cursor)
        events: list[Event] = []
        async with aclosing(export(log, call.principal.tenant, subject, after=after)) as pages:
            async for page in pages:
                events += page
                if len(events) > limit:
                    break
        shown = show_events(events[:limit], detail=detail, has_positions=has_positions(call.principal))
        more = len(events) > len(shown)
        return schema.ExportedSubject(
            subject=subject,
            events=list(shown),
            next_cursor=seal_page(call, "export_subject", asked, events[len(shown) - 1].position) if more else None,
        )

    @server.tool(title="Erase subject", scope=ADMIN, read_only=False, idempotent=True, destructive=True)
    async def erase_subject(subject: given.Subject) -> schema.ErasedSubject:
        """Forget a person for good: the key of this subject is destroyed, and the data of all events that were appended
        with it is removed. Their places and checksums stay. Interrupted, call it again."""
        call, log = current_call(), await journal.log()
        from eventlog.subjects.erase import erase_subject as erase

        by = Metadata(principal=call.principal.subject, source=SOURCE, traceparent=traceparent())
        async with telling(call, "events erased") as tell:
            done = await erase(log, call.principal.tenant, subject, metadata=by, on_progress=tell)
        return schema.ErasedSubject(
            subject=subject,
            events=done.events,
            streams=done.streams,
            snapshots=done.snapshots,
            was_known=done.had_key,
        )
