"""Identifiers that sort by time."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stoa.ids import new_id

# Up to the year 9900, and the steps from there by at most 30 years: dates end with 9999.
moments = st.integers(0, 250_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(moments, st.binary(min_size=10, max_size=10))
def test_an_id_is_26_letters_without_ambiguous_ones(now: datetime, entropy: bytes) -> None:
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", new_id(now, entropy=entropy))


@given(moments, st.integers(1, 10**12), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_time(now: datetime, later: int, one: bytes, other: bytes) -> None:
    then = now + timedelta(milliseconds=later)
    assert new_id(now, entropy=one) < new_id(then, entropy=other)


def test_the_layout_is_the_one_of_ulid() -> None:
    moment = datetime.fromtimestamp(1469922850.259, UTC)
    assert new_id(moment, entropy=bytes(10)) == "01ARZ3NDEK" + "0" * 16
    assert new_id(datetime.fromtimestamp(0, UTC), entropy=b"\xff" * 10) == "0" * 10 + "Z" * 16


def test_ids_of_one_moment_differ() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({new_id(now) for _ in range(1000)}) == 1000
