"""One request from beginning to end: a slot, the deadline, a second attempt where it is harmless, a second replica
beside a slow one, and the verdict. What may be tried again is decided in `verdict`."""

import math
from collections.abc import Awaitable
from typing import Final, TypeVar

import anyio

from pool.attempt import attempt
from pool.balance.decision import Decision
from pool.group import Group
from pool.relay import Relay
from pool.request import Passed, Request
from pool.trace import Kind
from pool.verdict import Failure, Late, after_deadline, after_loss, after_status, is_answer, is_worth_another
from pool.wire.failures import Lost, Refusal
from stoa.errors import Unavailable

__all__ = ["ask", "in_time"]

T = TypeVar("T")

LEAST_HEDGE_SECONDS: Final = 0.002
"""Sooner than this a second request costs more than it saves."""


async def ask(group: Group, request: Request) -> Passed:
    """Ask one replica, and where that is harmless another one.

    Raises errors of ours, and `Refusal` when the server answered with an error of the protocol.
    """
    clock, now = group.workshop.clock, group.workshop.clock.monotonic()
    group.retries.deposit(now)
    group.hedging.started(now)
    relay = Relay(request.progress) if request.progress is not None else None
    give_up_at = request.give_up_at
    tried: tuple[str, ...] = ()
    number = 1
    kind: Kind = "first"
    while True:
        waited = clock.monotonic()
        decision = group.take(key=request.key, avoid=tried, prefer=request.prefer if number == 1 else None)
        if decision is None:
            waiting = group.wait(key=request.key, avoid=tried, prefer=request.prefer if number == 1 else None)
            decision = await in_time(waiting, give_up_at, what=request.what)
        waited = clock.monotonic() - waited
        if give_up_at == math.inf:
            # From the first sending on; a deadline that the caller gave may be longer than the group's own.
            give_up_at = anyio.current_time() + group.spec.call_timeout_seconds
        try:
            return await _try(group, decision, request, give_up_at, relay, kind=kind, number=number, waited=waited)
        except (Lost, Refusal, Late) as failure:
            tried = (*tried, decision.member)
            if not _may_try_again(group, request, failure, number, give_up_at):
                raise _verdict(group, request, failure) from failure
        number, kind = number + 1, "retry"
        group.counts.retries += 1
        if relay is not None:
            await relay.lead(number)


async def in_time(preparation: Awaitable[T], give_up_at: float, *, what: str) -> T:
    """Something that comes before the sending. Raises `Unavailable` when the caller's time is over by then."""
    with anyio.CancelScope(deadline=give_up_at):
        return await preparation
    raise Unavailable(
        f"{what} was not sent: no replica was free in the time allowed.", hint="Try again later, or allow more time."
    )


def _may_try_again(group: Group, request: Request, failure: Failure, number: int, give_up_at: float) -> bool:
    return (
        number < group.spec.policy.retry.attempts
        and is_worth_another(failure, may_repeat=request.may_repeat)
        and anyio.current_time() < give_up_at
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


async def _try(
    group: Group,
    decision: Decision,
    request: Request,
    give_up_at: float,
    relay: Relay | None,
    *,
    kind: Kind,
    number: int,
    waited: float,
) -> Passed:
    clock = group.workshop.clock
    delay = group.hedging.delay(clock.monotonic(), kind=request.kind) if _has_choice(group, request, number) else None
    seconds = max(0.0, give_up_at - anyio.current_time())
    if delay is None or delay >= seconds:
        passed = await attempt(
            group,
            decision,
            request,
            seconds=seconds,
            progress=relay.of(number) if relay is not None else None,
            kind=kind,
            number=number,
            waited_seconds=waited,
        )
    else:
        passed = await _race(group, decision, request, give_up_at, relay, after=delay, waited=waited)
    if request.may_repeat:
        group.hedging.finished(passed.latency_seconds, clock.monotonic(), kind=request.kind)
    return passed


def _has_choice(group: Group, request: Request, number: int) -> bool:
    return request.may_repeat and number == 1 and len(group.replicas) > 1 and group.spec.policy.hedge.is_on


async def _race(
    group: Group,
    first: Decision,
    request: Request,
    give_up_at: float,
    relay: Relay | None,
    *,
    after: float,
    waited: float,
) -> Passed:
    """The first attempt, and beside it a second on another replica when it takes longer than most. The first answer
    counts, the other attempt is cancelled; a loss waits for what the other brings."""
    answers: list[Passed] = []
    failures: list[Failure] = []
    is_over = anyio.Event()
    running = 1

    async def run(decision: Decision, number: int, kind: Kind, waited: float) -> None:
        nonlocal running
        try:
            passed = await attempt(
                group,
                decision,
                request,
                seconds=max(0.0, give_up_at - anyio.current_time()),
                progress=relay.of(number) if relay is not None else None,
                kind=kind,
                number=number,
                waited_seconds=waited,
            )
        except (Lost, Refusal, Late) as failure:
            failures.append(failure)
            running -= 1
            if running and not is_answer(failure):
                if relay is not None:
                    await relay.lead(3 - number)
                return
        else:
            answers.append(passed)
            group.counts.hedges_won += number - 1
        is_over.set()
        tasks.cancel_scope.cancel()

    # No await before the attempt begins: it gives the slot back.
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, first, 1, "first", waited)
        with anyio.move_on_after(max(LEAST_HEDGE_SECONDS, after)):
            await is_over.wait()
        second = None if is_over.is_set() else _second(group, first)
        if second is not None:
            running += 1
            group.counts.hedges += 1
            tasks.start_soon(run, second, 2, "hedge", 0.0)
    if answers:
        return answers[0]
    raise next((failure for failure in failures if is_answer(failure)), failures[0])


def _second(group: Group, first: Decision) -> Decision | None:
    """A slot on another replica, if there is one with room and the budget allows it. Others who wait come first."""
    if group.slots.waiting or not any(replica.name != first.member for replica in group.usable):
        return None
    if not group.hedging.may_hedge(group.workshop.clock.monotonic()):
        return None
    decision = group.slots.take(exclude=(first.member,))
    if decision is None:
        group.hedging.budget.refund()
    return decision
