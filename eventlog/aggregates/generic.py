"""The aggregate of those who described none: each event's data is merged into one document. Pure.

The rule is JSON Merge Patch, https://www.rfc-editor.org/rfc/rfc7396: values replace, objects are merged, null removes.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from eventlog.aggregates.aggregate import Aggregate
from eventlog.event import Event, StreamId
from stoa.errors import Fault

__all__ = ["Aggregates", "generic", "merge"]

GENERIC_VERSION: Final = 1

State = dict[str, Any]


def merge(target: Any, patch: Any) -> Any:
    """`target` with `patch` applied. Neither is changed; parts of both are shared with the answer."""
    if not isinstance(patch, Mapping):
        return patch
    merged: dict[str, Any] = dict(cast("Mapping[str, Any]", target)) if isinstance(target, Mapping) else {}
    for name, value in cast("Mapping[str, Any]", patch).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def apply(state: State, event: Event) -> State:
    """`….deleted` sets `is_deleted`; `….created` and `….restored` take it away."""
    merged: State = merge(state, event.data)
    verb = event.type.rpartition(".")[2]
    if verb == "deleted":
        merged["is_deleted"] = True
    elif verb in ("created", "restored"):
        merged.pop("is_deleted", None)
    return merged


def generic(type: str) -> Aggregate[State]:
    """For any type. Its snapshots are never taken for those of a described aggregate of the same type."""
    return Aggregate(type=type, initial={}, apply=apply, version=GENERIC_VERSION, name="merge-patch")


class Aggregates:
    """The described aggregates by type; for every other type the generic one."""

    __slots__ = ("_by_type",)

    def __init__(self, aggregates: Iterable[Aggregate[Any]] = ()) -> None:
        self._by_type: dict[str, Aggregate[Any]] = {}
        for each in aggregates:
            if each.type in self._by_type:
                raise Fault(f"aggregate {each.type!r} is described twice", hint="Keep one of the two descriptions.")
            self._by_type[each.type] = each

    def __repr__(self) -> str:
        return f"<Aggregates {', '.join(sorted(self._by_type)) or 'all generic'}>"

    def of(self, stream: StreamId) -> Aggregate[Any]:
        return self._by_type.get(stream.aggregate_type) or generic(stream.aggregate_type)

    def is_described(self, type: str) -> bool:
        return type in self._by_type
