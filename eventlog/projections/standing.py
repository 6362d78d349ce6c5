"""How a projection stands: where it is, how far behind, what is in its way. Any process can tell, from the tables."""

from collections.abc import Sequence

from eventlog.event import Filter, Head, moment
from eventlog.projections.decide import Policy, build_due, is_halted
from eventlog.projections.projection import DocumentProjection, Projection
from eventlog.projections.status import State, Status
from eventlog.projections.tables import Parked, Shelf, load_parked, load_shelf
from eventlog.projections.work import Means
from stoa.telemetry import (
    PROJECTION_APPLIED,
    PROJECTION_DEAD,
    PROJECTION_FAILURES,
    PROJECTION_HELP,
    PROJECTION_LAG_EVENTS,
    PROJECTION_LAG_SECONDS,
    PROJECTION_PARKED,
    PROJECTION_POSITION,
    Sample,
)

__all__ = ["first_unseen", "samples_of", "state_of", "status_of"]

_MOST_COUNTED = 100_000
_COUNT = "SELECT COUNT(*) FROM (SELECT 1 FROM projection_document WHERE generation = $1 LIMIT $2) AS counted"


def state_of(
    shelf: Shelf | None,
    projection: Projection,
    *,
    is_behind: bool,
    parked: Sequence[Parked],
    now_us: int,
    policy: Policy,
) -> State:
    if shelf is None or shelf.serving is None:
        return "new"
    serving = shelf.serving
    if serving.version > projection.version:
        return "superseded"
    if shelf.is_paused:
        return "paused"
    if shelf.building is not None or build_due(shelf, projection) is not None:
        return "rebuilding"
    if serving.owner is None or serving.lease_us < now_us:
        return "waiting"
    if is_halted(parked, policy):
        return "halted"
    return "catching_up" if is_behind else "live"


async def first_unseen(means: Means, projection: Projection, position: int) -> tuple[int, int] | None:
    """Position and time of recording of the first event after `position` that this projection wants."""
    events = await means.log.read_all(position, filter=Filter(types=projection.types), limit=1)
    return (events[0].position, events[0].recorded_us) if events else None


async def status_of(means: Means, projection: Projection, head: Head, *, trouble: str | None) -> Status:
    """`trouble` is what this process met while it worked on it."""
    shelf = await load_shelf(means.database, projection.name)
    now_us = means.now_us()
    serving = None if shelf is None else shelf.serving
    building = None if shelf is None else shelf.building
    position = 0 if serving is None else serving.position
    unseen = await first_unseen(means, projection, position)
    parked: Sequence[Parked] = [] if serving is None else await load_parked(means.database, serving.pk)
    is_documents = isinstance(projection, DocumentProjection)
    documents: int | None = None
    if is_documents and serving is not None:
        count = (await means.database.fetch(_COUNT, serving.pk, _MOST_COUNTED))[0][0]
        assert isinstance(count, int)
        documents = count
    state = state_of(shelf, projection, is_behind=unseen is not None, parked=parked, now_us=now_us, policy=means.policy)
    due = None if shelf is None else build_due(shelf, projection)
    because = building.reason if building else due.reason if due else None
    if state == "halted" and trouble is None:
        trouble = f"{len(parked)} streams are parked: see the dead letters, then retry or purge them"
    if state == "superseded":
        trouble = f"version {serving.version if serving else 0} serves, this process knows {projection.version}"
    return Status(
        name=projection.name,
        description=projection.description,
        kind="documents" if is_documents else "sink",
        version=projection.version if serving is None else serving.version,
        state=state,
        generation=0 if serving is None else serving.pk,
        position=position,
        head=head.position,
        lag_events=0 if unseen is None else max(0, head.position - position),
        lag_seconds=0.0 if unseen is None else max(0.0, (now_us - unseen[1]) / 1_000_000),
        applied=0 if serving is None else serving.applied,
        failures=0 if serving is None else serving.failures,
        parked_streams=len(parked),
        dead_letters=sum(one.is_dead for one in parked),
        documents=documents,
        rebuild_position=None if building is None else building.position,
        rebuild_reason=because,
        built_because=None if serving is None else serving.reason,
        trouble=trouble,
        owner=None if serving is None or serving.lease_us < now_us else serving.owner,
        updated_at=None if serving is None else moment(serving.updated_us),
    )


def samples_of(standing: Sequence[Status]) -> Sequence[Sample]:
    found: list[Sample] = []
    for one in standing:
        labels = {"projection": one.name}
        for name, value in (
            (PROJECTION_POSITION, one.position),
            (PROJECTION_LAG_EVENTS, one.lag_events),
            (PROJECTION_LAG_SECONDS, one.lag_seconds),
            (PROJECTION_PARKED, one.parked_streams),
            (PROJECTION_DEAD, one.dead_letters),
        ):
            found.append(Sample(name, "gauge", PROJECTION_HELP[name], labels, float(value)))
        # A new generation counts from 0 again, as counters do after a restart.
        for name, value in ((PROJECTION_APPLIED, one.applied), (PROJECTION_FAILURES, one.failures)):
            found.append(Sample(name, "counter", PROJECTION_HELP[name], labels, float(value)))
    return found
