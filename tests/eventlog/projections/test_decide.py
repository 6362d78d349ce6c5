"""The rules, without a database."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.chain import START
from eventlog.event import Event, StreamId
from eventlog.projections.decide import (
    Build,
    Policy,
    build_due,
    can_swap,
    failed_again,
    failed_first,
    is_halted,
    workable,
)
from eventlog.projections.fold import Sandbox
from eventlog.projections.projection import is_wanted
from eventlog.projections.tables import Generation, Parked, Shelf
from stoa.errors import BadInput
from tests.eventlog.projections.counting import SEEN, versioned

ONE = Generation(1, "seen", 1, "serving", "first", None, 0, 10, START, "e", 0, 0, 0, True, None, 0, 0, 0)
TWO = replace(ONE, pk=2, state="building", reason="asked")


def shelf(serving: Generation | None = ONE, building: Generation | None = None) -> Shelf:
    return Shelf("documents", False, serving, building, [])


def happened(position: int, *, type: str = "order.placed", data: bytes | None = b"{}", version: int = 1) -> Event:
    return Event(position, StreamId("t", "order-1"), version, type, 1, "id", data, None, 0, 0, START)


@pytest.mark.parametrize(
    ("there", "version", "due"),
    [
        (shelf(None), 1, None),
        (shelf(), 1, None),
        (shelf(), 2, Build("version 2 instead of 1")),
        (shelf(replace(ONE, version=3)), 2, None),
        (shelf(replace(ONE, stale="restored")), 1, Build("restored")),
        (shelf(replace(ONE, stale="restored"), TWO), 1, None),
        (shelf(building=TWO), 2, Build("version 2 instead of 1", TWO)),
        (shelf(building=replace(TWO, version=2)), 2, None),
        (shelf(building=replace(TWO, version=3)), 2, None),
        (shelf(replace(ONE, stale="restored"), replace(TWO, version=2)), 1, None),
    ],
)
def test_when_a_projection_is_built_anew(there: Shelf, version: int, due: Build | None) -> None:
    assert build_due(there, versioned(version)) == due


def test_each_process_works_on_the_generations_of_its_version() -> None:
    both = shelf(building=replace(TWO, version=2))
    assert workable(both, versioned(1)) == [ONE]
    assert workable(both, versioned(2)) == [both.building]
    assert workable(both, versioned(3)) == []
    assert workable(shelf(building=TWO), versioned(1)) == [ONE, TWO]


@pytest.mark.parametrize(
    ("tenants", "is_over"),
    [
        ({}, False),
        ({"a": 99}, False),
        ({"a": 999}, False),
        ({"a": 1_000}, True),
        ({"a": 900, "b": 10, "c": 10, "d": 10}, False),
        ({str(number): 9 for number in range(11)}, False),
        ({str(number): 10 for number in range(10)}, True),
        ({str(number): 1 for number in range(99)}, False),
        ({str(number): 1 for number in range(100)}, True),
    ],
)
def test_one_tenant_does_not_halt_a_projection_that_works_for_the_others(
    tenants: dict[str, int], is_over: bool
) -> None:
    parked = [
        Parked(1, tenant, f"order-{number}", 1, 1, "order.placed", 1, None, "x", 0, 0)
        for tenant, count in tenants.items()
        for number in range(count)
    ]
    assert is_halted(parked, Policy(max_parked=100)) == is_over


@pytest.mark.parametrize(
    ("position", "fits", "at_the_end", "can"),
    [
        (9, True, False, False),
        (9, True, True, False),
        (10, True, False, True),
        (11, True, False, True),
        (99, False, False, False),
        (1, False, True, True),
    ],
)
def test_the_new_one_serves_when_nobody_sees_the_documents_go_back(
    position: int, fits: bool, at_the_end: bool, can: bool
) -> None:
    building = replace(TWO, position=position)
    assert can_swap(ONE, building, does_serving_fit=fits, is_at_the_end=at_the_end, parked=[]) is can


@given(st.integers(1, 8), st.randoms(use_true_random=False))
def test_attempts_end_and_waits_are_bounded(most: int, rng: random.Random) -> None:
    policy = Policy(max_attempts=most)
    now_us = 1_000
    parked: Parked = failed_first(7, happened(5), "no", now_us=now_us, policy=policy, rng=rng)
    attempts = 1
    while parked.retry_us is not None:
        assert now_us < parked.retry_us <= now_us + policy.backoff.most_seconds * 1_000_000
        now_us = parked.retry_us
        parked = failed_again(parked, "still no", now_us=now_us, policy=policy, rng=rng)
        attempts += 1
    assert (attempts, parked.attempts, parked.is_dead) == (most, most, True)
    assert (parked.first_us, parked.last_us, parked.position) == (1_000, now_us, 5)
    by_hand = failed_again(parked, "no", now_us=now_us, policy=policy, rng=rng)
    assert (by_hand.is_dead, by_hand.attempts) == (True, most + 1)


@pytest.mark.parametrize(
    ("type", "types", "wanted"),
    [
        ("order.placed", (), True),
        ("order.placed", ("order.placed",), True),
        ("order.placed", ("order.*",), True),
        ("order.item.added", ("order.*",), True),
        ("orders.placed", ("order.*",), False),
        ("order.placed", ("order.removed", "invoice.*"), False),
    ],
)
def test_which_types_are_wanted(type: str, types: tuple[str, ...], wanted: bool) -> None:
    assert is_wanted(happened(1, type=type), replace(SEEN, types=types)) is wanted


def test_erased_events_are_wanted_by_those_who_look_at_envelopes_only() -> None:
    assert not is_wanted(happened(1, data=None), SEEN)
    assert is_wanted(happened(1, data=None), replace(SEEN, only_envelopes=True))


def test_a_sandbox_parks_as_the_real_one_does_and_tells_why() -> None:
    sandbox = Sandbox(SEEN)
    for version, data in enumerate([b"{}", b'{"is_poison":true}', b"{}"], 1):
        sandbox.apply(happened(version, data=data, version=version))
    assert sandbox.documents("t") == {"1": {"versions": [1]}}
    assert [(one.version, one.reason) for one in sandbox.failed] == [
        (2, "ValueError: cannot swallow {'is_poison': True}")
    ]
    assert sandbox.documents("other") == {}


def test_a_sandbox_does_not_grow_without_end() -> None:
    sandbox = Sandbox(SEEN, max_bytes=85)
    for version in range(1, 26):
        sandbox.apply(happened(version, version=version))
    with pytest.raises(BadInput, match="Replay fewer"):
        sandbox.apply(happened(200_000, version=200_000))
