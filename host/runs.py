"""Runs, read back from the log."""

from collections.abc import Sequence
from datetime import datetime

from eventlog.aggregates.aggregate import fresh
from eventlog.aggregates.loading import Loaded, StateLost, advance, load
from eventlog.event import Filter, StreamId
from eventlog.log import EventLog
from host.events import RUN
from host.run_events import FAILED, FINISHED, STARTED, TOOL_CALLED
from host.run_state import State, Summaries, Summary
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
            found.end()
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
    """What a run adds up to, and when the log last heard of it. Where its first events were removed and nothing stands
    for them, what is left."""
    stream = StreamId(tenant, _PREFIX + run_id)
    try:
        loaded = await load(log, RUN, stream)
    except StateLost:
        first = (await log.stream_info(stream)).first_version
        loaded = await advance(log, RUN, Loaded(stream, fresh(RUN), first - 1))
    if not loaded.version or (loaded.recorded_at is None and not loaded.snapshot_version):
        raise NotFound(f"There is nothing left of the run {run_id!r}.", hint="Its events were removed.")
    return loaded.state, loaded.recorded_at or (await log.stream_info(stream)).updated_at
