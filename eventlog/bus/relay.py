"""From the log to the bus. The log stays the truth: nobody writes to both.

With a broker, the relay is a projection whose effect lies elsewhere: `Projector` keeps its place, lets one process at a
time work on it, waits while the broker is away and goes on where it stopped. An event may be published again after a
crash, always with its own id. Within one process there is no place to keep: the relay begins with what is new.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskStatus

from eventlog.bus.bus import Bus
from eventlog.bus.message import Message
from eventlog.bus.routing import Routing
from eventlog.event import Event, Filter
from eventlog.projections.projection import SinkProjection

if TYPE_CHECKING:
    from eventlog.log import EventLog

__all__ = ["NAME", "relay_in_process", "relay_projection"]

NAME: Final = "bus_relay"


def relay_projection(bus: Bus, routing: Routing | None = None, *, name: str = NAME, version: int = 1) -> SinkProjection:
    """What `Projector` has to run. Other rules that shall hold for older events, too, are another `version`."""
    return SinkProjection(
        name=name,
        version=version,
        types=(routing or Routing()).types,
        handle=_publisher(bus, routing or Routing()),
        description="Publishes events on the bus.",
    )


async def relay_in_process(
    log: "EventLog",
    bus: Bus,
    routing: Routing | None = None,
    *,
    after: int | None = None,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Publish what comes after the position `after` (of now, unless given), until cancelled. Tells where it began."""
    routing = routing or Routing()
    publish = _publisher(bus, routing)
    start = (await log.head()).position if after is None else after
    task_status.started(start)
    async for events in log.follow(start, filter=Filter(types=routing.types)):
        for event in events:
            await publish(event)


def _publisher(bus: Bus, routing: Routing) -> Callable[[Event], Awaitable[None]]:
    async def publish(event: Event) -> None:
        for channel in routing.channels_of(event):
            await bus.publish(channel, Message.of(event))

    return publish
