"""The events server: what happened is written down, read back, followed and explained. Thin: the rooms beside it do
the work."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kit.author import Server
from kit.cursor import derive
from servers.events import keeping, projecting, reading, states, writing
from servers.events.journal import Journal
from servers.events.resources import add_resources
from servers.events.settings import EventsSettings
from servers.events.types import Types
from servers.events.watching import Watching
from stoa import __version__
from stoa.home import secret_key
from stoa.settings import Settings
from stoa.tools import ToolCallers

if TYPE_CHECKING:  # the log is imported when it is opened
    from eventlog.model import EventModel

__all__ = ["create"]

INSTRUCTIONS: Final = (
    "The event log: what happened, in order, for good. Each event belongs to a stream (order-1001) and has a version in"
    " it. To explain something, read its stream (read_stream), look for related events (query_events, above all by"
    " correlation_id), and ask for its state at an earlier moment (state_at). Append with append_events; pass"
    " expected_version to notice that somebody else was faster, and idempotency_key to be able to repeat a call."
)


def create(
    settings: Settings,
    *,
    tools: ToolCallers | None = None,
    events: EventsSettings | None = None,
    models: "Sequence[EventModel] | None" = None,
) -> Server:
    """The server, not yet serving. `events` come from the environment where they are not handed in, `models` from what
    is installed."""
    events = events or EventsSettings.load(os.environ)
    journal = Journal(settings, events, models=models)
    watching = Watching(journal, tell=lambda uri, tenant: server.subscriptions.resource_updated(uri, tenant=tenant))
    server = Server(
        "events",
        version=__version__,
        instructions=INSTRUCTIONS,
        settings=settings,
        lifespan=journal.running,
        tools=tools,
        watch=watching.watch,
        samples=journal.samples,
    )
    types = Types(journal, reserved=events.reserved)
    writing.add_tools(server, journal, reserved=events.reserved, key=derive(secret_key(settings), "event ids"))
    reading.add_tools(server, journal, types)
    states.add_tools(server, journal)
    projecting.add_tools(server, journal)
    keeping.add_tools(server, journal)
    add_resources(server, journal, types)
    return server
