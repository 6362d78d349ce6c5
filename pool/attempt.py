"""One attempt at a request: signed, sent over one replica's connection, waited for, counted and traced."""

import anyio

from pool.balance.decision import Decision
from pool.group import Group
from pool.replica import Replica
from pool.request import Passed, Request
from pool.tally import Outcome
from pool.trace import Attempt, Kind
from pool.verdict import Late, counts_against
from pool.wire.failures import Lost, Refusal
from stoa.tools import Progress

__all__ = ["attempt"]

PATIENCE_SECONDS = 1.0
"""A caller that gives up sooner than this says nothing about the replica."""


async def attempt(
    group: Group,
    decision: Decision,
    request: Request,
    *,
    seconds: float,
    progress: Progress | None,
    kind: Kind = "first",
    number: int = 1,
    waited_seconds: float = 0.0,
) -> Passed:
    """Ask the replica that was decided on, and give its slot back, whatever happens.

    Raises `Lost`, `Refusal` or `Late`. Leaving the scope, by deadline or by the caller's own cancellation, has the
    connection tell the server to stop.
    """
    shop = group.workshop
    record = Attempt(
        shop.clock.now(),
        group.spec.name,
        request.what,
        decision,
        kind,
        number,
        request.principal.tenant,
        waited_seconds,
    )
    shop.ring.add(record)
    started = shop.clock.monotonic()
    request.tried = (*request.tried, decision.member)
    outcome: Outcome = "cancelled"
    replica = group.replica(decision.member)
    life = replica.life if replica is not None else None
    try:
        if replica is None or life is None or life.connection is None:
            # It went away between being handed over and now.
            raise Lost("", sent=False)  # noqa: TRY301 - counted and traced below, like any other loss
        connection = life.connection
        lent = group.identity.lend(replica.member, request.principal, hops=request.hops)
        life.enter()
        try:
            params = group.identity.sign(
                request.params,
                replica.spec,
                request.principal,
                server_name=connection.server_name,
                hops=request.hops,
                lent=lent,
            )
            with anyio.move_on_after(seconds):
                result = await connection.request(
                    request.method, params, progress=progress, asker=request.asker, headers=request.headers
                )
                outcome = "ok"
                record.seconds = taken = shop.clock.monotonic() - started
                return Passed(result, replica.name, connection.protocol, connection.is_modern, taken)
        finally:
            life.leave()
            group.identity.take_back(lent)
        outcome = "failed" if seconds >= min(PATIENCE_SECONDS, group.spec.call_timeout_seconds) else "cancelled"
        record.wrong = f"no answer within {seconds:g} s"
        raise Late(seconds, connection.explain())
    except Lost as loss:
        outcome = "failed" if loss.sent else "not_sent"
        record.wrong = loss.reason or "it went away"
        raise
    except Refusal as refusal:
        outcome = "failed" if counts_against(refusal) else "ok"
        record.wrong = refusal.message
        raise
    finally:
        record.outcome = outcome
        taken = record.seconds = record.seconds or shop.clock.monotonic() - started
        if outcome != "ok" and replica is not None and not replica.is_ready:
            group.lost(replica)  # before the slot goes to the next
        # Of a replica that was gone before anything was tried, the balancer is told by others.
        told = outcome if life is not None else "cancelled"
        group.slots.finish(decision, outcome=told, seconds=taken, reason=record.wrong)
        if replica is not None:
            replica.count(outcome, taken)
            _look(group, replica, is_good=outcome == "ok")


def _look(group: Group, replica: Replica, *, is_good: bool) -> None:
    """Have the keeper look when there may be something to do."""
    limit, life = group.spec.max_calls, replica.life
    if not is_good or (limit and life is not None and life.calls >= limit):
        group.wake()
