"""Which of the members that may be used gets the next call. Pure: no await; time and chance are handed in.

Every function gets at least two members that have room, and returns the index of the one chosen, the reason in words,
and the score of each (lower is better).
"""

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pool.balance.member import Member
from pool.balance.policy import Strategy

__all__ = ["STRATEGY", "Choice", "rendezvous"]

Choice = tuple[int, str, Sequence[float]]
FASTEST_SECONDS: Final = 1e-6
"""Nobody counts as faster than this, or the load would not count any more."""


def least_latency(members: Sequence[Member], now: float, rng: random.Random, slow_start_seconds: float) -> Choice:
    """The lowest of peak-EWMA latency * (calls in flight + 1) / weight: the wait to be expected. Full scan."""
    costs = _costs(members, now, slow_start_seconds)
    return _lowest(costs, rng), "lowest latency * load", costs


def p2c(members: Sequence[Member], now: float, rng: random.Random, slow_start_seconds: float) -> Choice:
    """Power of two choices: the better of two drawn by lot, by the same measure as `least_latency`."""
    first = int(rng.random() * len(members))
    second = int(rng.random() * (len(members) - 1))
    second += second >= first
    costs = _costs([members[first], members[second]], now, slow_start_seconds)
    scores = [math.nan] * len(members)
    scores[first], scores[second] = costs
    return (second if costs[1] < costs[0] else first), "the better of two drawn by lot", scores


def least_connections(members: Sequence[Member], now: float, rng: random.Random, slow_start_seconds: float) -> Choice:
    """The fewest calls in flight, in proportion to the weight; ties by lot."""
    loads = [(member.in_flight + 1) / member.effective_weight(now, slow_start_seconds) for member in members]
    return _lowest(loads, rng), "fewest calls in flight", loads


def weighted(members: Sequence[Member], now: float, rng: random.Random, slow_start_seconds: float) -> Choice:
    """In turn, each as often as its weight says."""
    weights = [member.effective_weight(now, slow_start_seconds) for member in members]
    return _next_turn(members, weights), "its turn by weight", weights


def round_robin(members: Sequence[Member], now: float, rng: random.Random, slow_start_seconds: float) -> Choice:
    """In turn, each as often as the others (one in its slow start less often)."""
    weights = [member.effective_weight(now, slow_start_seconds) / member.weight for member in members]
    return _next_turn(members, weights), "its turn", weights


def by_lot(members: Sequence[Member], now: float, rng: random.Random, slow_start_seconds: float) -> Choice:
    """By lot; the weights are the chances."""
    weights = [member.effective_weight(now, slow_start_seconds) for member in members]
    drawn = rng.random() * sum(weights)
    for index, weight in enumerate(weights):
        drawn -= weight
        if drawn < 0.0:
            return index, "by lot", weights
    return len(members) - 1, "by lot", weights


def rendezvous(members: Sequence[Member], key: str) -> Choice:
    """The same member for the same key, as long as it is there; only the keys of one that left move.

    Highest random weight (Thaler and Ravishankar, 1998), with weights after Schindelhauer and Schomaker (2005).
    """
    scores = [-_draw(key, member.name) / member.weight for member in members]
    return scores.index(min(scores)), "the key's own", scores


def _draw(key: str, name: str) -> float:
    """ln of a number in (0, 1) that depends on both and is the same in every process."""
    digest = hashlib.blake2b(f"{key}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return math.log((int.from_bytes(digest, "big") + 1) / (2.0**64 + 1))


def _costs(members: Sequence[Member], now: float, slow_start_seconds: float) -> list[float]:
    values = [member.ewma.value(now) for member in members]
    # Of whom nothing is known yet, the best is expected; slow start keeps the calls from rushing there.
    unknown = min((value for value in values if value is not None), default=FASTEST_SECONDS)
    costs: list[float] = []
    for member, value in zip(members, values, strict=True):
        seconds = max(FASTEST_SECONDS, unknown if value is None else value)
        weight = member.weight if member.ramp_from is None else member.effective_weight(now, slow_start_seconds)
        costs.append(seconds * (member.in_flight + 1) / weight)
    return costs


def _lowest(scores: Sequence[float], rng: random.Random) -> int:
    lowest = min(scores)
    if scores.count(lowest) == 1:
        return scores.index(lowest)
    return rng.choice([index for index, score in enumerate(scores) if score == lowest])


def _next_turn(members: Sequence[Member], weights: Sequence[float]) -> int:
    """Smooth weighted round robin, as nginx does it: everyone gains its weight, the first pays the sum."""
    best, highest = 0, -math.inf
    for index, (member, weight) in enumerate(zip(members, weights, strict=True)):
        member.turn += weight
        if member.turn > highest:
            best, highest = index, member.turn
    members[best].turn -= sum(weights)
    return best


STRATEGY: Final[Mapping[Strategy, Callable[[Sequence[Member], float, random.Random, float], Choice]]] = {
    "least_latency": least_latency,
    "round_robin": round_robin,
    "random": by_lot,
    "least_connections": least_connections,
    "weighted": weighted,
    "p2c": p2c,
    "sticky": least_latency,  # for whoever brings no key
}
