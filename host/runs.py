"""Runs, read back from the log."""

from collections.abc import Sequence
from datetime import datetime

from eventlog.event import Event, Filter, StreamId
from eventlog.log import EventLog
from host.run_events import FAILED, FINISHED, STARTED, TOOL_CALLED
from host.run_state import INITIAL, State, Summaries, Summary, apply
from stoa.errors import BadInput, NotFound

__all__ = ["find", "newest", "read"]

_PAGE = 500
MOST_SHOWN = 5
_PREFIX = "run-"


async def newest(log: EventLog, tenant: str, *, most: int) -> Sequence[Summary]:
    """The newest runs of a tenant, the newest first."""
    wanted = Filter(tenant=tenant, types=(STARTED, TOOL_CALLED, FINISHED, FAILED), stream_prefix=_PREFIX)
    found, until = Summaries(most=most), None
    while not found.is_full:
        page = await log.read_all(filter=wanted, backwards=True, until=until, limit=_PAGE)
        for event in page:
            found.add(event)
        if not page:
            break
        until = page[-1].position
    return found.found


async def find(log: EventLog, tenant: str, run_id: str | None) -> str:
    """The id of the run that is meant: the newest one, or the only one whose id begins so. Raises `NotFound`."""
    if run_id is None:
        newest_ones = await newest(log, tenant, most=1)
        if not newest_ones:
            raise NotFound("There is no run in the log yet.", hint='stoa run "How do I …?" makes one.')
        return newest_ones[0].run_id
    asked = run_id.strip().removeprefix(_PREFIX).upper()
    near = await log.list_streams(tenant, prefix=_PREFIX + asked, limit=MOST_SHOWN + 1) if asked else ()
    ids = [info.stream.aggregate_id for info in near]
    if asked in ids or len(ids) == 1:
        return asked if asked in ids else ids[0]
    if not ids:
        raise NotFound(f"There is no run {run_id[:80]!r} in the log.", hint="`stoa runs list` lists them.")
    more = " and more" if len(ids) > MOST_SHOWN else ""
    raise BadInput(
        f"Several runs begin with {run_id[:80]!r}: {', '.join(ids[:MOST_SHOWN])}{more}.", hint="Give more of the id."
    )


async def read(log: EventLog, tenant: str, run_id: str) -> tuple[State, datetime]:
    """What a run adds up to, and when its last event occurred."""
    stream, state, version = StreamId(tenant, _PREFIX + run_id), dict(INITIAL), 1
    last: Event | None = None
    while page := await log.read_stream(stream, from_version=version, limit=_PAGE):
        for last in page:
            state = apply(state, last)
        version = page[-1].version + 1
        if len(page) < _PAGE:
            break
    if last is None:
        raise NotFound(f"There is nothing left of the run {run_id!r}.", hint="Its events were truncated.")
    return state, last.occurred_at
