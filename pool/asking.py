"""One request from beginning to end: a slot, the deadline, a second attempt where it is harmless, the verdict."""

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from pool.group import Group
from pool.replica import Replica
from pool.verdict import after_deadline, after_loss, after_refusal
from pool.wire.connection import Connection, Meta
from pool.wire.failures import Lost, Refusal
from stoa.clock import Clock
from stoa.errors import Unavailable
from stoa.principal import Principal

__all__ = ["Answered", "ask", "in_time"]

T = TypeVar("T")
Answered = tuple[T, str, float]
"""The answer, the replica that gave it, and the seconds it took."""


async def ask(
    group: Group,
    question: Callable[[Connection, Meta], Awaitable[T]],
    *,
    what: str,
    may_repeat: bool,
    principal: Principal,
    hops: int,
    clock: Clock,
    give_up_at: float = math.inf,
) -> Answered[T]:
    """Ask one replica. `give_up_at` (anyio's time) bounds everything; the group's own limits bound each part.

    Raises errors of ours only. What was certainly not sent is tried once more, on whichever replica is next.
    """
    is_second = False
    while True:
        replica = await in_time(group.acquire(), give_up_at, what=what)
        try:
            return await _ask_replica(
                group,
                replica,
                question,
                what=what,
                may_repeat=may_repeat,
                principal=principal,
                hops=hops,
                seconds=_seconds_left(group, give_up_at),
                clock=clock,
            )
        except Lost as loss:
            if loss.sent or is_second:
                raise after_loss(loss, what, server=group.spec.name, may_repeat=may_repeat) from loss
        finally:
            group.release(replica)
        is_second = True


async def in_time(preparation: Awaitable[T], give_up_at: float, *, what: str) -> T:
    """Something that comes before the sending. Raises `Unavailable` when the caller's time is over by then."""
    with anyio.CancelScope(deadline=give_up_at):
        return await preparation
    raise Unavailable(
        f"{what} was not sent: no replica was free in the time allowed.", hint="Try again later, or allow more time."
    )


def _seconds_left(group: Group, give_up_at: float) -> float:
    """A deadline that the caller gave may be longer than the group's own, too."""
    if give_up_at == math.inf:
        return group.spec.call_timeout_seconds
    return max(0.0, give_up_at - anyio.current_time())


async def _ask_replica(
    group: Group,
    replica: Replica,
    question: Callable[[Connection, Meta], Awaitable[T]],
    *,
    what: str,
    may_repeat: bool,
    principal: Principal,
    hops: int,
    seconds: float,
    clock: Clock,
) -> Answered[T]:
    connection = replica.connection
    if connection is None:  # it went away between being handed over and now
        raise Lost("", sent=False)
    meta = group.identity.meta(replica.spec, principal, server_name=connection.server_name, hops=hops)
    started = clock.monotonic()
    is_good = False
    try:
        # Leaving the scope, by deadline or by the caller's own cancellation, has the SDK tell the server to stop.
        with anyio.move_on_after(seconds):
            answer = await question(connection, meta)
            taken = clock.monotonic() - started
            is_good = True
            return answer, replica.name, taken
        raise after_deadline(what, seconds, may_repeat=may_repeat, told=connection.explain())
    except Refusal as refusal:
        is_good = True  # it answered; that it said no is no failure of the replica
        raise after_refusal(refusal, what, server=group.spec.name) from refusal
    finally:
        replica.count(is_good=is_good, seconds=clock.monotonic() - started)
