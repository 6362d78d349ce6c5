"""`stoa events tail` and `show`: events as they lie in the log, and as they come."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from eventlog.event import Event, Filter, StreamId, StreamInfo
from eventlog.log import EventLog
from eventlog.names import check_tenant
from host import show_events
from host.log import open_whole
from host.output import Output
from host.session import OK
from host.streams import writing
from stoa.errors import BadInput
from stoa.settings import Settings

__all__ = ["Which", "show", "tail"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Which:
    """Events that are meant; `tenant` None means all of them."""

    tenant: str | None
    types: tuple[str, ...] = ()
    stream_prefix: str | None = None
    correlation_id: str | None = None

    @property
    def filter(self) -> Filter:
        if self.tenant is not None:
            check_tenant(self.tenant)
        return Filter(self.tenant, self.types, self.stream_prefix, self.correlation_id)


def tail(settings: Settings, output: Output, which: Which, *, most: int, follow: bool, full: bool) -> int:
    """The newest events, the oldest of them first. With `follow`, each that comes; Ctrl-C is the way to end that."""
    wanted, with_tenant = which.filter, which.tenant is None

    def tell(found: Sequence[Event]) -> None:
        if output.as_json:
            with writing():
                sys.stdout.writelines(f"{show_events.json_line(each.as_json())}\n" for each in found)
                sys.stdout.flush()
        else:
            output.text(lambda console: show_events.events(console, found, full=full, with_tenant=with_tenant))

    async def newest(log: EventLog) -> tuple[Sequence[Event], int]:
        head = await log.head()
        return await _newest(log, wanted, most=most, until=head.position + 1), head.position

    async def look() -> None:
        async with open_whole(settings) as (log, _):
            found, position = await newest(log)
            if follow:
                tell(found)
                async for page in log.follow(position, filter=wanted):
                    tell(page)
            else:
                output.document(
                    {"events": [each.as_json() for each in found], "position": position},
                    lambda console: show_events.events(console, found, full=full, with_tenant=with_tenant),
                )
                if not found:
                    output.note("There is no such event." if position else "There is no event in the log yet.")

    try:
        anyio.run(look)
    except KeyboardInterrupt:
        if not follow:
            raise
    return OK


async def _newest(log: EventLog, wanted: Filter, *, most: int, until: int) -> Sequence[Event]:
    found = list[Event]()
    while len(found) < most:
        size = min(_PAGE, most - len(found))
        page = await log.read_all(filter=wanted, backwards=True, until=until, limit=size)
        found += page
        if not page:
            break
        until = page[-1].position
    return found[::-1]


def show(
    settings: Settings,
    output: Output,
    stream: StreamId,
    *,
    first: int,
    last: int | None,
    backwards: bool,
    most: int,
    full: bool,
) -> int:
    """The events of a stream, at most `most` of them."""
    if last is not None and last < first:
        raise BadInput(f"The versions from {first} to {last} are none.", hint="Give --to at least what --from says.")

    async def ask() -> tuple[StreamInfo, Sequence[Event]]:
        async with open_whole(settings) as (log, _):
            info = await log.stream_info(stream)
            return info, await _versions(log, stream, first, last, backwards=backwards, most=most)

    with output.working(f"reading {stream.name}"):
        info, found = anyio.run(ask)
    wanted = max(0, min(info.version, last or info.version) - max(first, info.first_version) + 1)
    output.document(
        {
            "stream": stream.name,
            "tenant": stream.tenant,
            "version": info.version,
            "first_version": info.first_version,
            "last_position": info.last_position,
            "created_at": info.created_at.isoformat(),
            "updated_at": info.updated_at.isoformat(),
            "events": [each.as_json() for each in found],
            "left": wanted - len(found),
        },
        lambda console: (show_events.stream(console, info), show_events.events(console, found, full=full)),
    )
    if found and wanted > len(found):
        at = f"--to {found[-1].version - 1}" if backwards else f"--from {found[-1].version + 1}"
        output.note(f"{wanted - len(found):,} more: go on with {at}, or raise --limit.")
    elif not found:
        output.note(f"None of its events is of these versions; it has {info.first_version} to {info.version}.")
    return OK


async def _versions(
    log: EventLog, stream: StreamId, first: int, last: int | None, *, backwards: bool, most: int
) -> Sequence[Event]:
    found = list[Event]()
    while len(found) < most:
        size = min(_PAGE, most - len(found))
        page = await log.read_stream(stream, from_version=first, to_version=last, backwards=backwards, limit=size)
        found += page
        if len(page) < size:
            break
        if backwards:
            last = page[-1].version - 1
            if last < first:
                break
        else:
            first = page[-1].version + 1
            if last is not None and first > last:
                break
    return found
