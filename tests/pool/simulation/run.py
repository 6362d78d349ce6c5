"""A run: calls arrive by chance (Poisson), the pool's own `Balancer` sends them, budgets decide on second attempts.

Latency counts from the arrival, so that a pool that falls behind cannot hide it.
"""

import random
from dataclasses import dataclass, replace

from pool.balance.balancer import Balancer
from pool.balance.decision import Decision, Outcome
from pool.balance.policy import BalancePolicy, EjectionPolicy, HedgePolicy, RetryPolicy, Strategy
from stoa.resilience.budget import Budget
from stoa.resilience.hedge import Hedging
from tests.pool.simulation.events import Events
from tests.pool.simulation.service import Job, Server, Trouble

__all__ = ["MIXED", "Result", "Workload", "policy", "simulate"]

MIXED = (0.05, 0.05, 0.05, 0.05, 0.05, 0.1, 0.1, 0.4)
"""Mean service times in seconds: five fast replicas, two of half the speed, one that is slow."""


def policy(
    strategy: Strategy,
    *,
    ejects: bool = True,
    attempts: int = 1,
    hedges: bool = False,
    slow_start_seconds: float = 10.0,
) -> BalancePolicy:
    """The policy that runs live, with parts switched off."""
    return BalancePolicy(
        strategy=strategy,
        ejection=replace(EjectionPolicy(), is_on=ejects),
        retry=RetryPolicy(attempts=attempts),
        hedge=HedgePolicy(is_on=hedges),
    )


@dataclass(frozen=True, slots=True)
class Workload:
    """`utilisation`: what is asked for as a share of what all servers can do. The first seconds are not measured."""

    mean_seconds: tuple[float, ...] = MIXED
    slots: int = 4
    utilisation: float = 0.6
    calls: int = 15_000
    unmeasured_seconds: float = 12.0
    trouble: Trouble | None = None

    @property
    def calls_per_second(self) -> float:
        return self.utilisation * sum(self.slots / mean for mean in self.mean_seconds)


@dataclass(frozen=True, slots=True)
class Result:
    """`latencies` in seconds, sorted, of the calls that came after the unmeasured part, failed ones too."""

    latencies: tuple[float, ...]
    calls: int
    failed: int
    retried: int
    hedged: int
    served: tuple[int, ...]
    ejections: int

    def quantile(self, share: float) -> float:
        return self.latencies[int(share * len(self.latencies))]

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    @property
    def p999(self) -> float:
        return self.quantile(0.999)

    @property
    def error_share(self) -> float:
        return self.failed / self.calls

    @property
    def extra_share(self) -> float:
        return (self.retried + self.hedged) / self.calls

    def __str__(self) -> str:
        ms = " ".join(f"p{100 * share:g} {1000 * self.quantile(share):.0f} ms" for share in (0.5, 0.99, 0.999))
        return f"{ms}, errors {self.error_share:.2%}, extra load {self.extra_share:.2%}, served {self.served}"


def simulate(policy: BalancePolicy, workload: Workload, *, seed: int) -> Result:
    return _Run(policy, workload, seed).run()


class _Run:
    def __init__(self, policy: BalancePolicy, workload: Workload, seed: int) -> None:
        self.policy = policy
        self.workload = workload
        self.rng = random.Random(seed)
        self.events = Events()
        self.balancer = Balancer(policy)
        self.retries = Budget(policy.retry.budget_share, floor_per_second=policy.retry.budget_floor_per_second)
        self.hedging = Hedging(
            is_on=policy.hedge.is_on,
            quantile=policy.hedge.quantile,
            min_calls=policy.hedge.min_calls,
            budget_share=policy.hedge.budget_share,
        )
        self.servers: dict[str, Server] = {}
        for number, mean in enumerate(workload.mean_seconds):
            trouble = workload.trouble if workload.trouble and workload.trouble.server == number else None
            name = f"replica-{number}"
            self.servers[name] = Server(mean, workload.slots, events=self.events, rng=self.rng, trouble=trouble)
            self.balancer.add(name, now=0.0, max_in_flight=1_000_000)
            self.balancer.set_ready(name, True, 0.0)
        self.latencies: list[float] = []
        self.over = self.failed = self.retried = self.hedged = 0

    def run(self) -> Result:
        self._plan_arrival()
        while self.over < self.workload.calls:
            self.events.step()
        assert self.balancer.total_in_flight >= 0
        return Result(
            latencies=tuple(sorted(self.latencies)),
            calls=self.over,
            failed=self.failed,
            retried=self.retried,
            hedged=self.hedged,
            served=tuple(server.served for server in self.servers.values()),
            ejections=sum(self.balancer.health(name, self.events.now).ejections for name in self.balancer.members),
        )

    def _plan_arrival(self) -> None:
        self.events.after(self.rng.expovariate(self.workload.calls_per_second), self._arrive)

    def _arrive(self) -> None:
        now = self.events.now
        self._plan_arrival()
        self.retries.deposit(now)
        self.hedging.started(now)
        call = _Call(self, now)
        call.attempt()
        call.plan_hedge()

    def is_over(self, call: "_Call", *, is_good: bool) -> None:
        self.over += 1
        self.failed += not is_good
        seconds = self.events.now - call.arrived
        if is_good:
            self.hedging.finished(seconds, self.events.now)
        if call.arrived >= self.workload.unmeasured_seconds:
            self.latencies.append(seconds)


@dataclass(slots=True, eq=False)
class _Attempt:
    decision: Decision
    job: Job
    sent: float


class _Call:
    """One call: its attempts in flight, and those it had."""

    __slots__ = ("_attempts", "_is_over", "_run", "_tried", "arrived")

    def __init__(self, run: _Run, arrived: float) -> None:
        self._run = run
        self.arrived = arrived
        self._attempts: list[_Attempt] = []
        self._tried: set[str] = set()
        self._is_over = False

    def attempt(self, *, elsewhere: bool = False) -> bool:
        run = self._run
        decision = run.balancer.pick(
            run.events.now, run.rng, avoid=self._tried, exclude=self._tried if elsewhere else ()
        )
        if decision is None:
            return False
        self._tried.add(decision.member)
        attempt = _Attempt(decision, Job(lambda is_good: self._done(attempt, is_good=is_good)), run.events.now)
        self._attempts.append(attempt)
        run.servers[decision.member].submit(attempt.job)
        return True

    def plan_hedge(self) -> None:
        run = self._run
        if (delay := run.hedging.delay(run.events.now)) is not None:
            run.events.after(delay, self._hedge)

    def _hedge(self) -> None:
        run = self._run
        if self._is_over or len(self._attempts) != 1:
            return
        if not run.hedging.may_hedge(run.events.now):
            return
        if self.attempt(elsewhere=True):
            run.hedged += 1
        else:
            run.hedging.budget.refund()

    def _done(self, attempt: _Attempt, *, is_good: bool) -> None:
        run = self._run
        if attempt.decision.is_finished:
            return  # another was faster; the server did not know
        self._end(attempt, "ok" if is_good else "failed")
        if is_good:
            for other in tuple(self._attempts):
                other.job.is_dropped = True
                self._end(other, "cancelled")
        elif self._attempts:
            return  # the other one may still do it
        elif len(self._tried) < run.policy.retry.attempts and run.retries.try_spend(run.events.now):
            run.retried += 1
            if self.attempt():
                return
        self._is_over = True
        run.is_over(self, is_good=is_good)

    def _end(self, attempt: _Attempt, outcome: Outcome) -> None:
        run = self._run
        self._attempts.remove(attempt)
        seconds = run.events.now - attempt.sent
        run.balancer.finish(attempt.decision, run.events.now, seconds=seconds, outcome=outcome)
