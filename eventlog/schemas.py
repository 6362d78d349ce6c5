"""Event types: what their data has to look like, and how data of an older schema version is brought up to the newest.

A type is described by JSON Schema, one for each version, and by upcasters, one for each step between versions. Stored
events never change: they are checked once, when they are appended, and brought up each time they are read. Types that
nobody described are neither checked nor changed. The same holds, on reading, for a version that is newer than this
process knows: during a rolling upgrade older processes read on, and see such data as it was written.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema_rs

from eventlog.names import is_type, shown
from stoa.errors import BadInput, Fault

__all__ = ["EventType", "TypeRegistry", "Upcaster", "json_path"]

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Pure: makes the data of the next version out of that of the one before. It may change what it was given."""

MAX_SCHEMA_VERSION: Final = 10_000
MAX_SHOWN: Final = 200
"""Characters of one part of a message: names and expectations can be long, and neither is ours."""

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of events. `version` is the newest schema version; `schemas` has a JSON Schema for each version that is
    to be checked (formats included), `upcasters[1]` makes version 2 out of version 1. Every version has a way up."""

    name: str
    description: str = ""
    version: int = 1
    schemas: Mapping[int, Mapping[str, Any]] = field(default_factory=dict[int, Mapping[str, Any]])
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict[int, Upcaster])


@dataclass(frozen=True, slots=True)
class _Known:
    """A type, made ready: what asks whether data is valid, and what brings it up, by version."""

    type: EventType
    validators: Mapping[int, jsonschema_rs.Validator]
    upcasters: Mapping[int, Upcaster]


class TypeRegistry:
    """The described types of one log. Everything that can be wrong with a description is found here, not on reading."""

    __slots__ = ("_known", "_newest")

    def __init__(self, types: Iterable[EventType] = ()) -> None:
        self._known: dict[str, _Known] = {}
        # What appending asks for a thousand times for once that it asks for anything else, ready to be called.
        self._newest: dict[str, tuple[int, Callable[[Any], bool]]] = {}
        for each in types:
            if each.name in self._known:
                raise Fault(f"event type {each.name!r} is described twice", hint="Keep one of the two descriptions.")
            known = self._known[each.name] = _ready(each)
            validator = known.validators.get(each.version)
            self._newest[each.name] = (each.version, validator.is_valid if validator is not None else _anything)

    def __repr__(self) -> str:
        return f"<TypeRegistry of {len(self._known)} types>"

    def names(self) -> Sequence[str]:
        return sorted(self._known)

    def get(self, name: str) -> EventType | None:
        known = self._known.get(name)
        return known.type if known is not None else None

    def check(self, type: str, schema_version: int | None, data: Mapping[str, Any]) -> int:
        """The schema version that the event is to be written with (the newest one, unless it says another).

        Raises `BadInput` when the data is not as that version wants it. A version newer than the newest is refused
        too: nobody could get past the schema by naming a version that does not exist.
        """
        try:
            newest, is_valid = self._newest[type]
            if (schema_version is None or schema_version == newest) and is_valid(data):
                return newest
        except (KeyError, ValueError):
            pass
        return self._check_slowly(type, schema_version, data)

    def upcaster(self, type: str, stored_version: int) -> Upcaster | None:
        """What brings data from the stored version to the newest; None when nothing is to be done: the type is
        unknown, or the data is of the newest version or of one newer than this process knows."""
        known = self._known.get(type)
        return known.upcasters.get(stored_version) if known is not None else None

    def _check_slowly(self, type: str, schema_version: int | None, data: Mapping[str, Any]) -> int:
        if schema_version is not None and not (
            isinstance(schema_version, int)  # pyright: ignore[reportUnnecessaryIsInstance] - from files comes anything
            and 1 <= schema_version <= MAX_SCHEMA_VERSION
        ):
            raise BadInput(
                f"schema version {shown(schema_version)} of an event of type {type!r} is out of range",
                hint=f"Give a whole number from 1 to {MAX_SCHEMA_VERSION:,}, or none.",
            )
        known = self._known.get(type)
        if known is None:
            return 1 if schema_version is None else schema_version
        version = known.type.version if schema_version is None else schema_version
        if version > known.type.version:
            raise BadInput(
                f"event type {type!r} has no schema version {version} here; the newest is {known.type.version}",
                hint="Give an existing version, or append by a Stoa that knows the newer one.",
            )
        validator = known.validators.get(version)
        if validator is None:
            return version
        try:
            # The validator reads real dicts only; any other mapping is made one.
            faults = validator.iter_errors(data if isinstance(data, dict) else dict(data))
            first = next(faults, None)
        except ValueError as error:
            raise BadInput(
                f"data of event type {type!r} (schema version {version}) is not JSON: {_short(str(error))}",
                hint="Give objects with text as keys, lists, text, numbers, true, false and null.",
            ) from error
        if first is not None:
            where = json_path(first.instance_path)
            raise BadInput(
                f"data of event type {type!r} (schema version {version}) is refused at {where}: "
                + _short(first.message),
                hint="Mend the data; the type's schema says what is expected.",
            )
        return version


def json_path(parts: Iterable[str | int]) -> str:
    """Where in a document, as RFC 9535 writes it: `$.lines[0].price`. Long ones are cut in the middle."""
    words = ["$"]
    for part in parts:
        if isinstance(part, int):
            words.append(f"[{part}]")
        else:
            words.append(f".{part}" if _PLAIN.fullmatch(part) else f"[{part!r}]")
    return _short("".join(words))


def _anything(data: Any) -> bool:
    return True


def _ready(type: EventType) -> _Known:
    what = f"event type {type.name!r}"
    if not is_type(type.name):
        raise Fault(f"{type.name!r} cannot be the name of an event type", hint="Names are like order.placed.")
    if not 1 <= type.version <= MAX_SCHEMA_VERSION:
        raise Fault(f"{what}: version {type.version} is out of range", hint="Versions are whole numbers from 1 on.")
    strange = sorted(version for version in type.schemas if not 1 <= version <= type.version)
    if strange:
        raise Fault(f"{what} has schemas of versions {strange}, but its versions are 1 to {type.version}")
    steps = set(range(1, type.version))
    if missing := sorted(steps - type.upcasters.keys()):
        raise Fault(
            f"{what} has version {type.version}, but nothing brings data up from version "
            + ", ".join(str(each) for each in missing),
            hint="Give an upcaster for every version before the newest: stored events never change.",
        )
    if strange := sorted(type.upcasters.keys() - steps):
        raise Fault(f"{what} has upcasters from versions {strange}, and there is nothing above version {type.version}")
    return _Known(
        type,
        {version: _validator(what, version, schema) for version, schema in type.schemas.items()},
        {version: _chain(type, version) for version in steps},
    )


def _validator(what: str, version: int, schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    try:
        # Offline: a `$ref` to elsewhere is a fault, never a request. The mask keeps values out of every message.
        return jsonschema_rs.validator_for(dict(schema), validate_formats=True, offline=True, mask="the value")
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
        raise Fault(f"{what}: the schema of version {version} cannot be used: {_short(reason)}") from error


def _chain(type: EventType, stored: int) -> Upcaster:
    """All steps from the stored version to the newest, as one. Which event it was says whoever holds the event."""
    steps = [(version, type.upcasters[version]) for version in range(stored, type.version)]

    def bring_up(data: dict[str, Any]) -> dict[str, Any]:
        for version, step in steps:
            try:
                data = step(data)
            except Exception as error:  # code of others: whatever it raises becomes one clear fault
                raise Fault(_stuck(type.name, version, f"the upcaster raised {error.__class__.__name__}")) from error
            if not isinstance(data, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - code of others, see above
                raise Fault(_stuck(type.name, version, "the upcaster returned no object"))
        return data

    return bring_up


def _stuck(type: str, version: int, why: str) -> str:
    return f"data of event type {type!r} cannot be brought from schema version {version} to {version + 1}: {why}"


def _short(text: str) -> str:
    half = MAX_SHOWN // 2
    return text if len(text) <= MAX_SHOWN else f"{text[:half]} … {text[-half:]}"
