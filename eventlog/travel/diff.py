"""What has changed between two states. Pure.

The changes are those of JSON Patch (https://www.rfc-editor.org/rfc/rfc6902): `add`, `remove` and `replace`, each at a
JSON Pointer (RFC 6901), one after the other. Each also says what was there and what is there now, for people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import orjson

from stoa.errors import BadInput

__all__ = ["Change", "apply_changes", "diff"]

MAX_DEPTH: Final = 100
"""Deeper down, a part that differs is replaced as a whole."""


@dataclass(frozen=True, slots=True)
class Change:
    """`before` is None for `add`, `after` is None for `remove`."""

    op: Literal["add", "remove", "replace"]
    path: str
    before: Any = field(default=None, repr=False)
    after: Any = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """`from` and `to` are for people; in JSON Patch, `to` is called `value`."""
        told: dict[str, Any] = {"op": self.op, "path": self.path}
        if self.op != "add":
            told["from"] = self.before
        if self.op != "remove":
            told["to"] = self.after
        return told


def diff(before: Any, after: Any) -> Sequence[Change]:
    """What makes the second out of the first; parts of both are shared with the answer. In lists, what stands at both
    ends alike is left out, and what is between is compared place by place."""
    changes: list[Change] = []
    _compare(before, after, "", changes, 0)
    return changes


def apply_changes(state: Any, changes: Sequence[Change]) -> Any:
    """The state with the changes made one after the other; the one given stays as it is. Raises `BadInput` for one
    that does not fit."""
    root: dict[str, Any] = {"": _copied(state)}
    for change in changes:
        *way, last = ["", *(_unescaped(each) for each in change.path.split("/")[1:])]
        place: Any = root
        try:
            for step in way:
                place = place[int(step) if isinstance(place, list) else step]
            _make(place, last, change)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise BadInput(
                f"The change {change.op!r} at {change.path!r} does not fit this state.",
                hint="Apply changes to the state that they were computed from, in their order.",
            ) from error
    return root[""]


def _make(place: Any, last: str, change: Change) -> None:
    if isinstance(place, list):
        items = cast("list[Any]", place)
        index = int(last)
        if not 0 <= index < len(items) + (change.op == "add"):
            raise IndexError(last)
        if change.op == "add":
            items.insert(index, _copied(change.after))
        elif change.op == "remove":
            del items[index]
        else:
            items[index] = _copied(change.after)
        return
    if change.op == "remove":
        del place[last]
    elif change.op == "add" or last in place:
        place[last] = _copied(change.after)
    else:
        raise KeyError(last)


def _compare(before: Any, after: Any, path: str, changes: list[Change], depth: int) -> None:
    if depth < MAX_DEPTH and isinstance(before, dict) and isinstance(after, dict):
        _compare_objects(cast("dict[str, Any]", before), cast("dict[str, Any]", after), path, changes, depth)
    elif depth < MAX_DEPTH and isinstance(before, list) and isinstance(after, list):
        _compare_lists(cast("list[Any]", before), cast("list[Any]", after), path, changes, depth)
    elif not _is_same(before, after):
        changes.append(Change("replace", path, before, after))


def _compare_objects(
    before: dict[str, Any], after: dict[str, Any], path: str, changes: list[Change], depth: int
) -> None:
    for name in sorted(before.keys() | after.keys()):
        there = f"{path}/{_escaped(name)}"
        if name not in after:
            changes.append(Change("remove", there, before[name]))
        elif name not in before:
            changes.append(Change("add", there, after=after[name]))
        else:
            _compare(before[name], after[name], there, changes, depth + 1)


def _compare_lists(before: list[Any], after: list[Any], path: str, changes: list[Change], depth: int) -> None:
    head, tail = (0, 0) if len(before) == len(after) else _alike(before, after)
    end_before, end_after = len(before) - tail, len(after) - tail
    both = min(end_before, end_after)
    for index in range(head, both):
        _compare(before[index], after[index], f"{path}/{index}", changes, depth + 1)
    # From the end on, so that no index moves before its turn.
    changes.extend(Change("remove", f"{path}/{index}", before[index]) for index in reversed(range(both, end_before)))
    changes.extend(Change("add", f"{path}/{index}", after=after[index]) for index in range(both, end_after))


def _alike(before: list[Any], after: list[Any]) -> tuple[int, int]:
    """How many items are the same at the beginning, and how many of the rest at the end."""
    shorter = min(len(before), len(after))
    head = 0
    while head < shorter and _is_same(before[head], after[head]):
        head += 1
    tail = 0
    while tail < shorter - head and _is_same(before[-1 - tail], after[-1 - tail]):
        tail += 1
    return head, tail


def _is_same(one: Any, other: Any) -> bool:
    """As JSON is written: neither is true the same as 1, as it would be in Python, nor 1.0."""
    if one.__class__ is not other.__class__:
        return False
    if isinstance(one, dict | list):  # written out: many times quicker than going through both
        return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    return one == other


def _copied(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unescaped(word: str) -> str:
    return word.replace("~1", "/").replace("~0", "~")
