"""Events into an effect elsewhere: at least once, the position after the effect."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import anyio

from eventlog.database import Statement
from eventlog.event import Checkpoint, Event, StreamId
from eventlog.projections.decide import failed_again, failed_first
from eventlog.projections.fold import reason_of
from eventlog.projections.projection import SinkProjection, is_wanted
from eventlog.projections.tables import Generation, Parked, cas, forget_parked, keep_parked
from eventlog.projections.work import Means, Mended, advanced, checkpoint_of
from stoa.errors import BadInput, Unavailable

__all__ = ["apply_to_sink", "mend_sink", "opened"]


async def opened(means: Means, projection: SinkProjection, generation: Generation, *, epoch: str) -> Generation:
    """The generation as it is once the sink is ready for it: emptied when it is built anew; and at the position that
    the sink itself tells, when it keeps one. Raises `Conflict` when somebody else does the same."""
    if not generation.is_reset:
        if projection.reset is not None:
            await projection.reset()
            if projection.position is not None and await projection.position() is not None:
                hint = "Its `reset` has to forget the position too."
                raise BadInput(f"The sink {projection.name!r} still tells a position after it was emptied.", hint=hint)
        await means.database.write(cas(generation, now_us=means.now_us(), is_reset=True, lease=means.lease()))
        generation = replace(advanced(generation), is_reset=True)
    if projection.position is None:
        return generation
    kept = await projection.position()
    start = Checkpoint(0, bytes(32), epoch)
    there = start if kept is None else Checkpoint(kept[0], kept[1], epoch)
    if there.position == generation.position:
        return generation if there.checksum == generation.checksum else replace(generation, checksum=there.checksum)
    await means.database.write(cas(generation, now_us=means.now_us(), checkpoint=there, lease=means.lease()))
    return advanced(generation, there)


async def apply_to_sink(
    means: Means,
    projection: SinkProjection,
    generation: Generation,
    parked: Mapping[StreamId, Parked],
    events: Sequence[Event],
    *,
    epoch: str,
) -> int:
    """How many events this went on by. Raises `Unavailable` when the sink is away (what was done until then is
    written), `Conflict` when another process works on it: then some effects came twice, as they may."""
    waiting = set(parked)
    done = 0
    passed: Event | None = None

    async def write(failed: Parked | None = None) -> None:
        nonlocal done, generation, passed
        if passed is None:
            return
        there = checkpoint_of(passed, epoch)
        kept: Iterable[Statement] = () if failed is None else keep_parked([failed])
        failures = int(failed is not None)
        change = cas(
            generation,
            now_us=means.now_us(),
            checkpoint=there,
            applied=done,
            failures=failures,
            lease=means.lease(),
        )
        await means.database.write(change, *kept)
        generation = advanced(generation, there)
        done, passed = 0, None

    for event in events:
        if event.stream in waiting or not is_wanted(event, projection):
            passed = event
            continue
        try:
            reason = await _handled(projection, event)
        except Unavailable:
            await write()
            raise
        passed = event
        if reason is None:
            done += 1
            if done >= means.policy.sink_batch:
                await write()
            continue
        # Written before any later event is handled: a sink that keeps its own position would pass over it else.
        waiting.add(event.stream)
        await write(
            failed_first(generation.pk, event, reason, now_us=means.now_us(), policy=means.policy, rng=means.rng)
        )
    await write()
    return len(events)


async def mend_sink(
    means: Means,
    projection: SinkProjection,
    generation: Generation,
    parked: Parked,
    events: Sequence[Event],
    rest: Event | None,
) -> Mended:
    """Handle what waits of a stream, in order. Raises as above."""
    left: Parked | None = None
    if rest is not None:
        place = {"version": rest.version, "position": rest.position, "event_type": rest.type}
        left = replace(parked, **place, attempts=0, retry_us=means.now_us())
    done = 0
    reason: str | None = None
    for event in events:
        if not is_wanted(event, projection):
            continue
        reason = await _handled(projection, event)
        if reason is None:
            done += 1
            continue
        now_us, policy, rng = means.now_us(), means.policy, means.rng
        if event.version == parked.version:
            left = failed_again(parked, reason, now_us=now_us, policy=policy, rng=rng)
        else:
            left = failed_first(generation.pk, event, reason, now_us=now_us, policy=policy, rng=rng)
        break
    await means.database.write(
        cas(generation, now_us=means.now_us(), applied=done, failures=int(reason is not None)),
        *(keep_parked([left]) if left is not None else [forget_parked(parked)]),
    )
    return Mended(done, left, reason)


async def _handled(projection: SinkProjection, event: Event) -> str | None:
    """The reason when it fails; raises `Unavailable` when it is not the event's fault."""
    try:
        with anyio.move_on_after(projection.handle_seconds) as time:
            await projection.handle(event)
        if time.cancelled_caught:
            return f"TimeoutError: it took longer than {projection.handle_seconds:g} s"
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a sink raises is a failure of this event
        return reason_of(error)
    return None
