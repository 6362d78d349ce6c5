"""What a filter means in SQL, and which filters cannot be meant. Pure.

Names are looked up within the statement: a tenant or type that is new since the last page is found without asking
twice. A plus before a column keeps databases from an index that would have to be sorted.
"""

import re
from dataclasses import dataclass
from typing import Final

from eventlog.database import Value
from eventlog.event import Filter, microseconds
from eventlog.names import MAX_STREAM_ID, MAX_TYPE, check_tenant, is_type, shown
from stoa.errors import BadInput

__all__ = ["LAST", "Conditions", "check_filter", "conditions"]

LAST: Final = "\U0010ffff"
"""Sorts after every character that a name can have."""
MAX_TYPES: Final = 200
MAX_CORRELATION: Final = 200

_BEGINNING: Final = re.compile(r"(?:[a-z][a-z0-9_]*\.)+\*")


@dataclass(frozen=True, slots=True)
class Conditions:
    """`sql` begins with AND, or is empty."""

    sql: str
    values: tuple[Value, ...]


def check_filter(filter: Filter) -> Filter:
    """Raises `BadInput` for what can match nothing by its very form."""
    if filter.tenant is not None:
        check_tenant(filter.tenant)
    if len(filter.types) > MAX_TYPES:
        raise BadInput(f"The filter has {len(filter.types)} types.", hint=f"Give at most {MAX_TYPES}.")
    for type in filter.types:
        if not is_type(type) and not (len(type) <= MAX_TYPE and _BEGINNING.fullmatch(type)):
            raise BadInput(
                f"The type {shown(type)} in the filter cannot be used.",
                hint="Give a whole name (order.placed) or a beginning that ends with .* (order.*).",
            )
    prefix = filter.stream_prefix
    if prefix is not None and (not 0 < len(prefix) <= MAX_STREAM_ID + MAX_TYPE or not prefix.isprintable()):
        raise BadInput(
            f"The stream prefix {shown(prefix)} in the filter cannot be used.",
            hint="Give the beginning of a stream's name, for instance order-, or none.",
        )
    correlation = filter.correlation_id
    if correlation is not None and (not 0 < len(correlation) <= MAX_CORRELATION or not correlation.isprintable()):
        raise BadInput(
            f"The correlation id {shown(correlation)} in the filter cannot be used.",
            hint=f"Give 1 to {MAX_CORRELATION} printable characters, or none.",
        )
    for at in (filter.since, filter.until):
        if at is not None and at.tzinfo is None:
            raise BadInput(
                f"The time {at.isoformat()} in the filter has no zone.", hint="Give it with one, UTC for instance."
            )
    if filter.since is not None and filter.until is not None and filter.since >= filter.until:
        raise BadInput(
            f"The filter's time range is empty: since {filter.since.isoformat()} is not before until"
            f" {filter.until.isoformat()}.",
            hint="Give an earlier since or a later until; until itself is not part of the range.",
        )
    return filter


def conditions(filter: Filter, first_mark: int) -> Conditions:
    """On `event e` and `stream s`; its values are numbered from `first_mark` on."""
    sql: list[str] = []
    values: list[Value] = []

    def mark(value: Value) -> str:
        values.append(value)
        return f"${first_mark + len(values) - 1}"

    # The index on tenant, type and position serves those who name both; on the tenant alone it would have to be sorted.
    by_type = "" if filter.tenant is not None and filter.types and filter.correlation_id is None else "+"
    if filter.tenant is not None:
        tenant = f"(SELECT pk FROM tenant WHERE name = {mark(filter.tenant)})"  # noqa: S608 - as below
        sql.append(f"{by_type}e.tenant = {tenant}")
    if filter.types:
        names: list[str] = []
        for type in filter.types:
            if type.endswith(".*"):
                names.append(f"(name >= {mark(type[:-1])} AND name < {mark(type[:-1] + LAST)})")
            else:
                names.append(f"name = {mark(type)}")
        sql.append(f"{by_type}e.type IN (SELECT pk FROM event_type WHERE {' OR '.join(names)})")  # noqa: S608 - marks only
    if filter.correlation_id is not None:
        sql.append(f"e.correlation_id = {mark(filter.correlation_id)}")
    if filter.stream_prefix is not None:
        sql.append(f"s.name >= {mark(filter.stream_prefix)} AND s.name < {mark(filter.stream_prefix + LAST)}")
    if filter.since is not None:
        sql.append(f"e.recorded_us >= {mark(microseconds(filter.since))}")
    if filter.until is not None:
        sql.append(f"e.recorded_us < {mark(microseconds(filter.until))}")
    return Conditions("".join(f" AND {each}" for each in sql), tuple(values))
