"""Looking after the replicas of one group: probes, idle ones, those whose time is over, and those that are away."""

from typing import Final

import anyio

from pool.group import Group
from pool.recycling import memory_of_group
from pool.replica import Replica
from pool.wire.failures import Lost, Refusal
from stoa.errors import StoaError

__all__ = ["Keeper"]

HUNG_AFTER_PROBES: Final = 3
"""A replica that did not answer so many probes in a row is replaced."""
LOOK_SECONDS: Final = 30.0
"""Time between two rounds where there are no probes: memory is looked at, and what is away is tried again."""
LEAST_SECONDS: Final = 0.02
MOST_SECONDS: Final = 3600.0


class Keeper:
    """One task for each group. It sleeps until something is due; a group whose replicas are all stopped costs nothing.

    `tend` is one round, by the clock it was given.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._round_at = group.workshop.clock.monotonic()

    def __repr__(self) -> str:
        return f"<Keeper of {self._group.spec.name}: next round in {self.due_in():.1f} s>"

    async def run(self) -> None:
        while not self._group.is_closed:
            woken = self._group.woken
            with anyio.move_on_after(max(LEAST_SECONDS, self.due_in())):
                await woken.wait()
            await self.tend()

    def due_in(self) -> float:
        """Seconds until something has to be done."""
        group, now = self._group, self._now
        if not any(replica.is_ready or replica.was_up for replica in group.replicas):
            return MOST_SECONDS
        due = [self._round_at + (group.spec.probe_interval_seconds or LOOK_SECONDS)]
        if (at := group.slots.balancer.next_probe_at()) is not None:
            due.append(at)
        due += [at for replica in group.replicas if (at := replica.due_at()) is not None]
        return min(MOST_SECONDS, max(0.0, min(due) - now))

    async def tend(self) -> None:
        """Do what is due."""
        group, now = self._group, self._now
        if group.is_closed:
            return
        probes = group.spec.probe_interval_seconds > 0
        is_round = now - self._round_at >= (group.spec.probe_interval_seconds or LOOK_SECONDS)
        if is_round:
            self._round_at = now
        for replica in tuple(group.replicas):
            self._judge(replica, with_memory=is_round)
        due = set(group.slots.balancer.due_probes(now))
        async with anyio.create_task_group() as tasks:
            for replica in tuple(group.replicas):
                if replica.name in due:
                    if group.slots.balancer.start_probe(replica.name, now):
                        tasks.start_soon(self._probe, replica)
                elif is_round and probes and replica.is_ready:  # ejected or not: one that hangs is found by its probes
                    tasks.start_soon(self._probe, replica)
                elif is_round and replica.was_up and replica.phase == "down":
                    replica.want()  # it was up once and could not be started again: perhaps now

    def _judge(self, replica: Replica, *, with_memory: bool) -> None:
        if (reason := replica.why_rest()) is not None:
            replica.rest(reason)
            return
        connection = replica.connection
        memory = None
        if with_memory and replica.group.max_memory_mb and connection is not None and connection.pid is not None:
            memory = memory_of_group(connection.pid)
        if (reason := replica.why_recycle(memory_bytes=memory)) is not None:
            replica.recycle(reason)

    async def _probe(self, replica: Replica) -> None:
        """Ask the small question, and tell the balancer what came of it."""
        group, connection = self._group, replica.connection
        limit = group.spec.probe_timeout_seconds
        started, ok, reason = self._now, None, ""
        try:
            if connection is None:
                return
            with anyio.move_on_after(limit):
                await connection.ping()
                ok = True
            if ok is None:
                ok, reason = False, f"no answer to a probe within {limit:g} s"
        except Refusal:
            ok = True  # it is there, and does not know the question
        except (Lost, StoaError) as error:
            ok, reason = False, str(error)
        finally:
            group.slots.probed(replica.name, ok=ok, seconds=self._now - started, reason=reason)
        replica.probed(ok=ok is True)
        if replica.probe_failures >= HUNG_AFTER_PROBES:
            replica.recycle(f"It did not answer {replica.probe_failures} probes in a row.", is_hung=True)

    @property
    def _now(self) -> float:
        return self._group.workshop.clock.monotonic()
