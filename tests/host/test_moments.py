"""Moments as they are written and shown."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from host.moments import Position, Version, local, parse, parse_time, utc
from stoa.errors import BadInput

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ZONE = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12", Version(12)),
        ("@345", Position(345)),
        ("now", NOW),
        ("90s", NOW - timedelta(seconds=90)),
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-01-31T12:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00+05:30", datetime(2026, 1, 31, 6, 30, tzinfo=UTC)),
        ("2026-01-31 12:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 30, 22, tzinfo=UTC)),
    ],
)
def test_a_version_a_position_and_a_time_are_told_apart(text: str, found: object) -> None:
    assert parse(text, now=NOW, zone=ZONE) == found


@pytest.mark.parametrize(
    "text", ["", "yesterday", "@", "@x", "-1", "2026-13-01", "999999999w", "1e3", "9" * 40, "٣", "2026-01-31T25:00"]
)
def test_what_is_none_of_these_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text, now=NOW, zone=ZONE)
    assert "10m" in caught.value.hint


def test_a_time_is_not_a_version() -> None:
    with pytest.raises(BadInput):
        parse_time("12", now=NOW)


def test_times_say_where_they_hold() -> None:
    at = datetime(2026, 1, 31, 23, 59, 59, 123_456, tzinfo=UTC)
    assert local(at, zone=ZONE) == "2026-02-01 01:59:59.123+02:00"
    assert local(at, zone=timezone(-timedelta(hours=3, minutes=30))) == "2026-01-31 20:29:59.123-03:30"
    assert utc(at) == "2026-01-31T23:59:59.123456Z"
