"""One request from beginning to end: a slot, the deadline, a second attempt where it is harmless, a second replica
beside a slow one, and the verdict. What may be tried again is decided in `verdict`."""

import math
from collections.abc import Awaitable
from typing import TypeVar

import anyio

from pool.attempt import attempt
from pool.balance.decision import Decision
from pool.group import Group
from pool.hedge import race
from pool.relay import Relay
from pool.request import Passed, Request
from pool.trace import Kind
from pool.verdict import Failure, Late, after_deadline, after_loss, after_status, is_worth_another
from pool.wire.failures import Lost, Refusal
from stoa.errors import Unavailable

__all__ = ["ask", "in_time"]

T = TypeVar("T")


async def ask(group: Group, request: Request) -> Passed:
    """Ask one replica, and where that is harmless another one.

    Raises errors of ours, and `Refusal` when the server answered with an error of the protocol.
    """
    clock = group.workshop.clock
    asked = clock.monotonic()
    group.retries.deposit(asked)
    relay = Relay(request.progress) if request.progress is not None else None
    give_up_at = request.give_up_at
    request.tried = ()
    kind: Kind = "first"
    while True:
        tried = request.tried
        number = len(tried) + 1
        decision = group.take(key=request.key, avoid=tried, prefer=None if tried else request.prefer)
        if decision is None:
            waiting = group.wait(key=request.key, avoid=tried, prefer=None if tried else request.prefer)
            decision = await in_time(waiting, give_up_at, what=request.what)
        sent = clock.monotonic()
        # A deadline that the caller gave may be longer than the group's own, too.
        seconds = (
            max(0.0, give_up_at - anyio.current_time()) if give_up_at < math.inf else group.spec.call_timeout_seconds
        )
        try:
            if number == 1 and request.may_repeat and _has_choice(group):
                return await _first(group, decision, request, relay, seconds=seconds, waited_seconds=sent - asked)
            return await attempt(
                group,
                decision,
                request,
                seconds=seconds,
                progress=relay.of(number) if relay is not None else None,
                kind=kind,
                number=number,
                waited_seconds=sent - asked,
            )
        except (Lost, Refusal, Late) as failure:
            asked = clock.monotonic()
            seconds -= asked - sent
            if seconds <= 0.0 or not _may_try_again(group, request, failure):
                raise _verdict(group, request, failure) from failure
        if give_up_at == math.inf:
            give_up_at = anyio.current_time() + seconds
        kind = "retry"
        group.counts.retries += 1
        if relay is not None:
            await relay.lead(len(request.tried) + 1)


async def in_time(preparation: Awaitable[T], give_up_at: float, *, what: str) -> T:
    """Something that comes before the sending. Raises `Unavailable` when the caller's time is over by then."""
    with anyio.CancelScope(deadline=give_up_at):
        return await preparation
    raise Unavailable(
        f"{what} was not sent: no replica was free in the time allowed.", hint="Try again later, or allow more time."
    )


def _may_try_again(group: Group, request: Request, failure: Failure) -> bool:
    return (
        len(request.tried) < group.spec.policy.retry.attempts
        and is_worth_another(failure, may_repeat=request.may_repeat)
        and not group.is_closed
        and group.retries.try_spend(group.workshop.clock.monotonic())
    )


def _verdict(group: Group, request: Request, failure: Failure) -> Exception:
    server = group.spec.name
    if isinstance(failure, Lost):
        return after_loss(failure, request.what, server=server, may_repeat=request.may_repeat)
    if isinstance(failure, Late):
        return after_deadline(request.what, failure.seconds, may_repeat=request.may_repeat, told=failure.told)
    return failure if failure.status is None else after_status(failure, failure.status, server=server)


def _has_choice(group: Group) -> bool:
    return len(group.replicas) > 1 and group.spec.policy.hedge.is_on


async def _first(
    group: Group,
    decision: Decision,
    request: Request,
    relay: Relay | None,
    *,
    seconds: float,
    waited_seconds: float,
) -> Passed:
    """The first attempt at what may be asked twice: with a second one beside it, once it is known how long such calls
    take."""
    now = group.workshop.clock.monotonic()
    group.hedging.started(now)
    after = group.hedging.delay(now, kind=request.kind)
    if after is None or after >= seconds:
        progress = relay.of(1) if relay is not None else None
        passed = await attempt(
            group, decision, request, seconds=seconds, progress=progress, waited_seconds=waited_seconds
        )
    else:
        passed = await race(
            group, decision, request, relay, after=after, seconds=seconds, waited_seconds=waited_seconds
        )
    group.hedging.finished(passed.latency_seconds, now + passed.latency_seconds, kind=request.kind)
    return passed
