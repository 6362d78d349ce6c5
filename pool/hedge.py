"""A second replica asked beside a slow first one. The first attempt stays in the caller's own task, so that a call that
is answered in time, as nearly all are, pays for a timer and nothing else."""

import asyncio
from typing import Final

import anyio

from pool.attempt import attempt
from pool.balance.decision import Decision
from pool.group import Group
from pool.relay import Relay
from pool.request import Passed, Request
from pool.verdict import Failure, Late, is_answer
from pool.wire.failures import Lost, Refusal

__all__ = ["race"]

LEAST_SECONDS: Final = 0.002
"""Sooner than this a second request costs more than it saves."""


async def race(
    group: Group,
    first: Decision,
    request: Request,
    relay: Relay | None,
    *,
    after: float,
    seconds: float,
    waited_seconds: float,
) -> Passed:
    """The first attempt, and after that time a second one on another replica. The first answer counts, be it a refusal,
    and the other attempt is cancelled; a loss waits for what the other brings. Raises what `attempt` raises."""
    hedge = _Hedge(group, first, request, relay, seconds=seconds)
    timer = asyncio.get_running_loop().call_later(max(LEAST_SECONDS, after), hedge.begin)
    failure: Failure | None = None
    try:
        with hedge.first:
            return await attempt(
                group,
                first,
                request,
                seconds=seconds,
                progress=relay.of(1) if relay is not None else None,
                waited_seconds=waited_seconds,
            )
    except (Lost, Refusal, Late) as error:
        failure = error
    finally:
        timer.cancel()
        if failure is None or is_answer(failure) or not hedge.runs:
            hedge.cancel()
    if failure is not None and not is_answer(failure) and hedge.runs:
        if relay is not None:
            await relay.lead(2)
        try:
            await hedge.wait()
        finally:
            hedge.cancel()
    if hedge.answer is not None:
        return hedge.answer
    raise _worst(failure, hedge.failure)


class _Hedge:
    """The second attempt, if it comes to that; it runs in the pool's tasks, and never outlives the call."""

    def __init__(self, group: Group, first: Decision, request: Request, relay: Relay | None, *, seconds: float) -> None:
        self.first = anyio.CancelScope()
        self.answer: Passed | None = None
        self.failure: Failure | None = None
        self.runs = False
        self._scope: anyio.CancelScope | None = None
        self._over: anyio.Event | None = None
        self._group = group
        self._avoid = first.member
        self._request = request
        self._relay = relay
        self._seconds = seconds

    def begin(self) -> None:
        """The first takes longer than most: ask another replica, if there is one with room and the budget allows it.
        Others who wait come first."""
        group = self._group
        if group.is_closed or group.slots.waiting or group.tasks is None:
            return
        if not any(replica.name != self._avoid for replica in group.usable):
            return
        if not group.hedging.may_hedge(group.workshop.clock.monotonic()):
            return
        decision = group.slots.take(exclude=(self._avoid,))
        if decision is None:
            group.hedging.budget.refund()
            return
        self.runs = True
        self._scope, self._over = anyio.CancelScope(), anyio.Event()
        group.counts.hedges += 1
        group.tasks.start_soon(self._run, decision, self._scope, self._over)

    def cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def wait(self) -> None:
        """Until the second attempt is over."""
        if self._over is not None:
            await self._over.wait()

    async def _run(self, decision: Decision, scope: anyio.CancelScope, over: anyio.Event) -> None:
        try:
            with scope:
                self.answer = await attempt(
                    self._group,
                    decision,
                    self._request,
                    seconds=self._seconds,
                    progress=self._relay.of(2) if self._relay is not None else None,
                    kind="hedge",
                    number=2,
                )
                self._group.counts.hedges_won += 1
        except (Lost, Refusal, Late) as failure:
            self.failure = failure
        finally:
            self.runs = False
            over.set()
        if self.answer is not None or (self.failure is not None and is_answer(self.failure)):
            self.first.cancel()


def _worst(first: Failure | None, second: Failure | None) -> Failure:
    """What to tell: an answer before anything else, then what happened to the first."""
    found = [failure for failure in (first, second) if failure is not None]
    return next((failure for failure in found if is_answer(failure)), found[0])
