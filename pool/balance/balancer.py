"""The balancer of one group: which member gets the next call, and what its answers say about its health.

No await, no clock, no chance of its own: `now` (seconds, monotonic) and `rng` are handed in, so that the same object
runs live and in a simulation. The state is the members; nobody else changes it.
"""

import random
from collections.abc import Collection, Sequence
from typing import Final

from pool.balance.decision import Decision, Outcome
from pool.balance.homes import Homes
from pool.balance.member import Health, Member
from pool.balance.policy import BalancePolicy
from pool.balance.strategies import STRATEGY, rendezvous

__all__ = ["Balancer"]

CALLS_TRY_AFTER_SECONDS: Final = 1.0
"""An ejected member is tried with a call only this long after its time, so that an active probe comes first: a caller
would wait for one that hangs until the deadline."""


class Balancer:
    """`pick` reserves a slot, `finish` gives it back, exactly once. Members are added, and made ready when they are."""

    def __init__(self, policy: BalancePolicy | None = None) -> None:
        self.policy = policy or BalancePolicy()
        self._members: dict[str, Member] = {}
        self._choose = STRATEGY[self.policy.strategy]
        self._ejected = 0
        self._with_affinity = 0
        self._homes = Homes()
        self._total = 0

    def __repr__(self) -> str:
        ready = sum(member.is_ready for member in self._members.values())
        return (
            f"<Balancer {self.policy.strategy}: {ready}/{len(self._members)} ready, {self._ejected} ejected, "
            f"{self._total} in flight>"
        )

    # -- members -----------------------------------------------------------------------------------------------------

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self._members)

    @property
    def total_in_flight(self) -> int:
        """Of all members, and of those that have been removed and still have calls."""
        return self._total

    @property
    def ejected(self) -> tuple[str, ...]:
        return tuple(member.name for member in self._members.values() if member.circuit.is_open)

    def in_flight(self, name: str) -> int:
        member = self._members.get(name)
        return 0 if member is None else member.in_flight

    def add(self, name: str, *, now: float, weight: float = 1.0, tier: int = 0, max_in_flight: int = 16) -> None:
        """A new member, not ready yet; or other numbers for one that is there, which keeps its history."""
        if weight <= 0.0:
            raise ValueError(f"the weight of {name!r} must be more than 0, not {weight:g}")
        member = self._members.get(name)
        if member is None:
            member = self._members[name] = Member(name, self.policy)
        member.weight, member.tier, member.max_in_flight = weight, tier, max_in_flight

    def remove(self, name: str, *, now: float) -> None:
        """Its calls in flight go on, and are finished like any other."""
        member = self._members.pop(name, None)
        if member is None:
            return
        self._with_affinity -= member.wants_affinity
        self._ejected -= member.circuit.is_open
        member.is_ready = False
        self._let_back(now)

    def set_ready(self, name: str, is_ready: bool, now: float, *, wants_affinity: bool | None = None) -> None:
        """Whether it can take calls. `wants_affinity`: calls with the same key should stay with it (a session)."""
        member = self._members[name]
        if wants_affinity is not None and wants_affinity != member.wants_affinity:
            member.wants_affinity = wants_affinity
            self._with_affinity += 1 if wants_affinity else -1
        if is_ready and not member.is_ready:
            self._start_slowly(member, now)
            member.failed_probes = 0
        member.is_ready = is_ready

    def configure(self, policy: BalancePolicy, *, now: float) -> None:
        """Another policy from now on; what is known of the members stays."""
        self.policy = policy
        self._choose = STRATEGY[policy.strategy]
        for member in self._members.values():
            member.ewma.decay_seconds = policy.decay_seconds
            member.circuit.configure(policy.ejection, now)
        self._ejected = sum(member.circuit.is_open for member in self._members.values())
        self._let_back(now)

    # -- calls -------------------------------------------------------------------------------------------------------

    def pick(
        self,
        now: float,
        rng: random.Random,
        *,
        key: str | None = None,
        avoid: Collection[str] = (),
        exclude: Collection[str] = (),
        prefer: str | None = None,
    ) -> Decision | None:
        """A slot on one member, or None when nobody who may be used has room.

        `key`: calls with the same key go to the same member, where the strategy is sticky or a member wants affinity;
        with affinity also when others have come since, as long as it is there and has room.
        `avoid`: not these, unless nobody else may be used. `exclude`: not these. `prefer`: this one, if it is ready and
        has room, be it ejected.
        """
        if prefer is not None and prefer not in exclude and prefer not in avoid:
            member = self._members.get(prefer)
            if member is not None and member.is_free:
                return self._reserve(member, Decision(member.name, self.policy.strategy, "preferred"), now)
        if avoid and not self._is_somebody_usable({*avoid, *exclude}):
            avoid = ()
        is_panic = self._ejected > 0 and self._is_panic()
        candidates: list[Member] = []
        skipped: list[tuple[str, str]] = []
        probe: Member | None = None
        tier = 0
        for member in self._members.values():
            if not member.is_ready:
                skipped.append((member.name, "not ready"))
                continue
            if member.in_flight >= member.max_in_flight:
                skipped.append((member.name, "full"))
                continue
            if member.name in avoid or member.name in exclude:
                skipped.append((member.name, "avoided"))
                continue
            is_probe = False
            if member.circuit.is_open:
                is_probe = member.circuit.may_try(now, after_seconds=CALLS_TRY_AFTER_SECONDS)
                if not is_probe and not is_panic:
                    skipped.append((member.name, "ejected"))
                    continue
            if candidates and member.tier != tier:
                if member.tier > tier:
                    skipped.append((member.name, f"tier {member.tier}"))
                    continue
                skipped.extend((other.name, f"tier {tier}") for other in candidates)
                candidates.clear()
                probe = None
            tier = member.tier
            candidates.append(member)
            if is_probe and probe is None:
                probe = member
        if not candidates:
            return None
        return self._decide(candidates, skipped, probe, key, now, rng, is_panic=is_panic)

    def finish(self, decision: Decision, now: float, *, seconds: float, outcome: Outcome, reason: str = "") -> None:
        """The call is over. `seconds` since it was sent; `reason`: of a failure, in words."""
        member = decision.holder
        if member is None:
            raise RuntimeError(f"the slot on {decision.member!r} has been given back already")
        decision.holder = None
        member.in_flight -= 1
        self._total -= 1
        if outcome == "cancelled":
            member.ewma.observe_at_least(seconds, now)
            if decision.is_probe:
                member.circuit.finish_probe(now, is_good=None)
            return
        is_good = outcome == "ok"
        member.ewma.observe(seconds if is_good else max(seconds, self.policy.failure_penalty_seconds), now)
        if decision.is_probe:
            self._finish_probe(member, now, is_good=is_good, reason=reason)
            return
        if not is_good:
            member.last_reason = reason
        if (why := member.circuit.record(now, is_good=is_good)) is not None:
            self._try_eject(member, now, f"{why}: {reason}" if reason else why)

    # -- health ------------------------------------------------------------------------------------------------------

    def health(self, name: str, now: float) -> Health:
        return self._members[name].health(now)

    def due_probes(self, now: float) -> tuple[str, ...]:
        """Ejected members that are ready and whose time is over, and that nobody is trying: half-open."""
        if not self._ejected:
            return ()
        return tuple(m.name for m in self._members.values() if m.is_ready and m.circuit.may_probe(now))

    def next_probe_at(self) -> float | None:
        """When the next ejection of one that is ready is over; None when there is nobody to wait for."""
        if not self._ejected:
            return None
        waiting = [m.circuit for m in self._members.values() if m.is_ready and m.circuit.is_open]
        return min((circuit.until for circuit in waiting if not circuit.is_probing), default=None)

    def start_probe(self, name: str, now: float) -> bool:
        """Claim the one probe of an ejected member whose time is over; always followed by `probed`."""
        member = self._members.get(name)
        if member is None or not member.circuit.start_probe(now):
            return False
        member.is_probed = True
        return True

    def probed(self, name: str, now: float, *, ok: bool | None, seconds: float, reason: str = "") -> None:
        """An active probe is over; `ok` is None when it was broken off.

        For an ejected member whose time is over it counts as its half-open probe. For others a success only takes the
        word of the last failed probe back (calls are the better witness), and failed ones in a row eject.
        """
        member = self._members.get(name)
        if member is None:
            return
        is_claimed, member.is_probed = member.is_probed, False
        if ok is None:
            if is_claimed:
                member.circuit.finish_probe(now, is_good=None)
            return
        if ok:
            member.failed_probes = 0
        else:
            member.failed_probes += 1
            member.last_reason = reason
            member.ewma.observe(max(seconds, self.policy.failure_penalty_seconds), now)
        if member.circuit.is_open:
            if is_claimed or member.circuit.may_probe(now):  # else it is not time, or a call is trying it
                self._finish_probe(member, now, is_good=ok, reason=reason)
        elif not ok and self.policy.ejection.is_on and member.failed_probes >= self.policy.ejection.probe_failures:
            why = f"{member.failed_probes} probes in a row failed"
            self._try_eject(member, now, f"{why}: {reason}" if reason else why)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _decide(
        self,
        candidates: Sequence[Member],
        skipped: Sequence[tuple[str, str]],
        probe: Member | None,
        key: str | None,
        now: float,
        rng: random.Random,
        *,
        is_panic: bool,
    ) -> Decision:
        strategy = self.policy.strategy
        compared = None
        is_bound = key is not None and (strategy == "sticky" or self._with_affinity > 0)
        home = self._home(key, candidates) if key is not None and self._with_affinity > 0 else None
        if home is not None:
            member, why = home, "the caller's session is there"
        elif probe is not None and not is_bound:
            member, why = probe, "probe: its ejection is over"
        elif len(candidates) == 1:
            member, why = candidates[0], "only one ready" if len(self._members) == 1 else "the only one usable"
        else:
            if key is not None and is_bound:
                index, why, scores = rendezvous(candidates, key)
            else:
                index, why, scores = self._choose(candidates, now, rng, self.policy.slow_start_seconds)
            member, compared = candidates[index], (candidates, scores)
        if home is None and key is not None and self._with_affinity > 0:
            self._settle(key, member)
        is_probe = probe is not None and member.circuit.may_try(now, after_seconds=CALLS_TRY_AFTER_SECONDS)
        if is_panic and not is_probe:
            why = f"panic: too many are ejected, so all are used; {why}"
        decision = Decision(member.name, strategy, why, is_probe, None, compared, skipped)
        return self._reserve(member, decision, now)

    def _home(self, key: str, candidates: Sequence[Member]) -> Member | None:
        """Where the caller has been so far, if that is among them."""
        name = self._homes.find(key)
        return None if name is None else next((member for member in candidates if member.name == name), None)

    def _settle(self, key: str, member: Member) -> None:
        """The caller is at home here from now on, unless its home is there and only has no room."""
        name = self._homes.find(key)
        home = self._members.get(name) if name is not None else None
        if home is None or not home.is_ready or home.circuit.is_open or home.is_free:
            self._homes.settle(key, member.name)

    def _reserve(self, member: Member, decision: Decision, now: float) -> Decision:
        if decision.is_probe:
            member.circuit.start_probe(now)
        member.in_flight += 1
        self._total += 1
        decision.holder = member
        return decision

    def _is_panic(self) -> bool:
        ready = sum(member.is_ready for member in self._members.values())
        usable = sum(member.is_ready and not member.circuit.is_open for member in self._members.values())
        return usable < ready * self.policy.ejection.panic_share

    def _is_somebody_usable(self, without: Collection[str]) -> bool:
        return any(
            member.is_ready and member.name not in without and not member.circuit.is_open
            for member in self._members.values()
        )

    def _try_eject(self, member: Member, now: float, reason: str) -> None:
        """Unless too many are out already: then it stays, and its next failure asks again."""
        if self._members.get(member.name) is not member:
            return  # removed in the meantime
        if self._ejected + 1 <= self.policy.ejection.max_share * len(self._members):
            member.circuit.open(now, reason)
            self._ejected += 1

    def _finish_probe(self, member: Member, now: float, *, is_good: bool, reason: str) -> None:
        was_open = member.circuit.is_open
        member.circuit.finish_probe(now, is_good=is_good, reason=reason and f"its probe failed: {reason}")
        if was_open and not member.circuit.is_open:
            self._ejected -= self._members.get(member.name) is member
            self._start_slowly(member, now)

    def _let_back(self, now: float) -> None:
        """There are fewer members than before: those whose ejection would end first come back, as far as needed."""
        while self._ejected > self.policy.ejection.max_share * len(self._members):
            ejected = [member for member in self._members.values() if member.circuit.is_open]
            first = min(ejected, key=lambda member: member.circuit.until)
            first.circuit.close(now)
            self._ejected -= 1

    def _start_slowly(self, member: Member, now: float) -> None:
        member.ewma.forget()
        member.turn = 0.0
        member.ramp_from = now if self.policy.slow_start_seconds > 0.0 else None
