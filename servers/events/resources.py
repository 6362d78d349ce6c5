"""Resources, what completes their names, and prompts.

A resource is a picture of the present: the newest events of a stream, what a projection says, what is known of a type.
"""

import json
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue

from eventlog.event import Filter, StreamId
from kit.author import Server
from kit.call import current_call
from servers.events.addresses import PROJECTION_URI, STREAM_URI, TYPE_URI
from servers.events.journal import Journal
from servers.events.projecting import show_projection
from servers.events.scopes import READ, has_positions
from servers.events.shown import show_document, show_events
from servers.events.types import Types

__all__ = ["add_resources"]

SHOWN: Final = 50
MAX_COMPLETIONS: Final = 100
MAX_TYPED: Final = 300


def add_resources(server: Server, journal: Journal, types: Types) -> None:
    @server.resource(STREAM_URI, title="Stream", scope=READ, media_type="application/json")
    async def stream(id: str) -> str:
        """The newest 50 events of a stream, oldest first, and how far it is."""
        principal, log = current_call().principal, await journal.log()
        stream = StreamId(principal.tenant, id)
        info = await log.stream_info(stream)
        newest = await log.read_stream(stream, backwards=True, limit=SHOWN)
        page = show_events(newest, detail="brief", has_positions=has_positions(principal))
        return _json(
            {
                "stream": id,
                "version": info.version,
                "first_version": info.first_version,
                "created_at": info.created_at.isoformat(),
                "updated_at": info.updated_at.isoformat(),
                "events": [each.model_dump(mode="json", exclude_none=True) for each in reversed(page)],
            }
        )

    @server.resource(PROJECTION_URI, title="Projection", scope=READ, media_type="application/json")
    async def projection(name: str) -> str:
        """How far a projection is, and the first 50 of your documents in it."""
        principal, projector = current_call().principal, await journal.projector()
        shown = await show_projection(projector, name, principal)
        found = await projector.documents.list(name, principal.tenant, limit=SHOWN + 1)
        documents = [
            show_document(each.key, each.document, detail="brief", has_positions=has_positions(principal))
            for each in found[:SHOWN]
        ]
        return _json(
            {
                "projection": shown.model_dump(mode="json", exclude_none=True),
                "documents": [each.model_dump(mode="json", exclude_none=True) for each in documents],
                "has_more": len(found) > SHOWN,
            }
        )

    @server.resource(TYPE_URI, title="Event type", scope=READ, media_type="application/json")
    async def type(name: str) -> str:
        """What is known of an event type, and the newest 50 events of it."""
        principal, log = current_call().principal, await journal.log()
        described = await types.describe(name, principal.tenant)
        newest = await log.read_all(filter=Filter(tenant=principal.tenant, types=(name,)), backwards=True, limit=SHOWN)
        page = show_events(newest, detail="brief", has_positions=has_positions(principal))
        return _json(
            {
                **described.model_dump(mode="json", exclude={"types", "next_cursor"}),
                "events": [each.model_dump(mode="json", exclude_none=True) for each in reversed(page)],
            }
        )

    async def complete_stream(prefix: str) -> Sequence[str]:
        # One more than is shown, so that the client learns that there are more.
        principal, log = current_call().principal, await journal.log()
        principal.require(READ)  # prompts have no scope of their own
        found = await log.list_streams(principal.tenant, prefix=prefix[:MAX_TYPED], limit=MAX_COMPLETIONS + 1)
        return [each.stream.name for each in found]

    async def complete_projection(prefix: str) -> Sequence[str]:
        return [name for name in (await journal.projector()).names() if name.startswith(prefix)]

    async def complete_type(prefix: str) -> Sequence[str]:
        return await types.names(current_call().principal.tenant, prefix=prefix, limit=MAX_COMPLETIONS + 1)

    server.complete(STREAM_URI, "id")(complete_stream)
    server.complete(PROJECTION_URI, "name")(complete_projection)
    server.complete(TYPE_URI, "name")(complete_type)
    server.complete("explain_what_happened", "to")(complete_stream)
    server.complete("compare_two_moments", "stream")(complete_stream)
    _add_prompts(server)


def _add_prompts(server: Server) -> None:
    @server.prompt(title="Explain what happened")
    def explain_what_happened(to: str) -> str:
        """Explain what happened to something, for instance to order-1001, from its events."""
        return (
            f"Explain what happened to {to}.\n\n"
            "If that is the name of a stream (such as order-1001), read it with read_stream; otherwise look for it with"
            " query_events. Follow the correlation_id of the decisive events with query_events to see what else the"
            " same request or run has caused, and use state_at where it matters what was so at an earlier moment. Then"
            " tell it in the order of time: what happened, when, by whom, and what it led to. Cite each statement as"
            " [stream vVERSION]. Say what the events do not tell; do not guess."
        )

    @server.prompt(title="Explain a run")
    def explain_run(run_id: str) -> str:
        """Explain what an agent run did, and why it ended as it did."""
        return (
            f"Explain the run {run_id}.\n\n"
            f"Read the stream run-{run_id} with read_stream, and what it has caused with query_events and"
            f" correlation_id={run_id}. Say what the task was, which tools were called with what outcome, what it cost,"
            " and how it ended. Where it failed, name the first event that went wrong. Cite events as"
            " [stream vVERSION]."
        )

    @server.prompt(title="Compare two moments")
    def compare_two_moments(stream: str, since: str) -> str:
        """Say what has changed in something since a moment, and which events changed it."""
        return (
            f"What has changed in {stream} since {since}?\n\n"
            "Call state_at with compare_version or compare_time for the changes, then read_stream for the events that"
            " made them. For each change say what it was before, what it is now, and which event did it"
            " ([stream vVERSION])."
        )

    @server.prompt(title="Mend dead letters")
    def mend_dead_letters(projection: str) -> str:
        """Find out why a projection could not read some events, and what to do about it."""
        return (
            f"Which events could the projection {projection} not read, and why?\n\n"
            "Call list_dead_letters, and describe_event_type for their types; compare the payloads with the schemas."
            " Group them by cause. For each group propose one thing: retry_dead_letter when the cause is gone,"
            " purge_dead_letters when the event has to be given up (it then never is part of the projection), or a"
            " change of the projection and rebuild_projection. Do none of it without being asked."
        )


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
