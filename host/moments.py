"""Moments as people write and read them on the command line. Pure: the present and the time zone come in as arguments.

Read: a date or a time (ISO 8601; without an offset it is local), or how long ago (`90s`, `10m`, `2h`, `3d`).
Shown: to a person, local with its offset; to a program, UTC with a Z.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from stoa.errors import BadInput

__all__ = ["Position", "Version", "local", "parse", "parse_time", "utc"]

_AGO: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_HINT: Final = "Give a date or time (2026-01-31, 2026-01-31T12:00, 2026-01-31T12:00Z), or how long ago (10m, 2h, 3d)."


@dataclass(frozen=True, slots=True)
class Version:
    """Of a stream."""

    number: int


@dataclass(frozen=True, slots=True)
class Position:
    """In the whole log."""

    number: int


def parse(text: str, *, now: datetime, zone: tzinfo | None = None) -> Version | Position | datetime:
    """A version (`12`), a position (`@345`) or a moment. `zone` None is the machine's own."""
    word = text.strip()
    if _NUMBER.fullmatch(word):
        return Version(int(word))
    if word.startswith("@") and _NUMBER.fullmatch(word[1:]):
        return Position(int(word[1:]))
    try:
        return parse_time(word, now=now, zone=zone)
    except BadInput as error:
        raise BadInput(
            f"{word[:80]!r} is no version, position or time.",
            hint=f"Give a version (12), or a position with an @ before it (@345). {_HINT}",
        ) from error


def parse_time(text: str, *, now: datetime, zone: tzinfo | None = None) -> datetime:
    word = text.strip()
    if word.lower() == "now":
        return now
    try:
        if ago := _AGO.fullmatch(word):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(word)
        aware = found if found.tzinfo is not None else found.replace(tzinfo=zone) if zone else found.astimezone()
        return aware.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput(f"{word[:80]!r} is no time.", hint=_HINT) from error


def local(at: datetime, *, zone: tzinfo | None = None) -> str:
    """`2026-01-31 13:00:00.123+01:00`."""
    there = at.astimezone(zone)
    offset = there.strftime("%z")
    return f"{there:%Y-%m-%d %H:%M:%S}.{there.microsecond // 1000:03d}{offset[:3]}:{offset[3:5]}"


def utc(at: datetime) -> str:
    """`2026-01-31T12:00:00.123456Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
