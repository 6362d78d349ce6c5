"""What an aggregate is: a pure fold of the events of one stream into a state that is JSON."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import orjson

from eventlog.event import Event
from stoa.errors import Fault, StoaError

__all__ = ["MAX_STATE_BYTES", "Aggregate", "fold", "fresh", "written"]

MAX_STATE_BYTES: Final = 16 * 2**20
"""Of the JSON of one state."""

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)  # no slots: with them, `Aggregate[…](…)` raises in Python 3.11
class Aggregate(Generic[S]):
    """`apply(state, event)` answers the state after the event; it may change and return the state it was given.

    It is pure and the same for ever: whoever changes what it answers raises `version`, and older snapshots are not
    used any more. The state is JSON (dicts, lists, text, numbers, true, false, None): a snapshot carries it, and
    so do tools. `type` is the part of a stream's name before the hyphen. Erased events are left out, unless `apply`
    says that it can bear them (`sees_erased`): their data is empty. Types that `apply` does not know change nothing.
    """

    type: str
    initial: S
    apply: Callable[[S, Event], S]
    version: int = 1
    sees_erased: bool = False
    description: str = ""
    name: str = ""
    """Of the fold, where it is not that of the type: one that stands for several types has one name for all."""

    def __repr__(self) -> str:
        return f"<Aggregate {self.type!r}, version {self.version}>"

    @property
    def fold_name(self) -> str:
        """By which snapshots are told apart."""
        return f"{self.name or self.type}@{self.version}"


def fresh(aggregate: Aggregate[S]) -> S:
    """The state before the first event: a copy, for `apply` may change it."""
    return orjson.loads(orjson.dumps(aggregate.initial))


def fold(aggregate: Aggregate[S], state: S, events: Iterable[Event]) -> S:
    """The state after the events. Raises `Fault` that names the event which cannot be applied."""
    for event in events:
        if event.is_erased and not aggregate.sees_erased:
            continue
        try:
            state = aggregate.apply(state, event)
        except StoaError:
            raise  # says itself what is wrong, an upcaster for instance
        except Exception as error:  # code of others: whatever it raises becomes one clear fault
            raise Fault(
                f"aggregate {aggregate.type!r} (version {aggregate.version}) cannot apply {event!r}: "
                f"{error.__class__.__name__}",
                hint="Mend `apply`, and raise the aggregate's version when its answers change.",
            ) from error
    return state


def written(aggregate: Aggregate[S], state: S) -> bytes:
    """The state as JSON, always written the same. Raises `Fault` for what is not JSON, or too large."""
    try:
        text = orjson.dumps(state, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise Fault(f"the state of aggregate {aggregate.type!r} is not JSON: {error}") from error
    if len(text) > MAX_STATE_BYTES:
        raise Fault(
            f"the state of aggregate {aggregate.type!r} has {len(text):,} bytes; at most {MAX_STATE_BYTES:,} are kept",
            hint="Keep large things elsewhere, or end the stream and begin another.",
        )
    return text
