"""What a part of the platform brings to the log: its event types, its aggregates, its projections.

Servers and host declare theirs as entry points of the group `stoa.event_models`
(`content = "servers.content.events:MODEL"`), so that whoever opens the log knows them without importing a server.
"""

import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eventlog.aggregates.aggregate import Aggregate
from eventlog.aggregates.generic import Aggregates
from eventlog.projections.projection import Projection
from eventlog.schemas import EventType, TypeRegistry
from stoa.errors import Fault

__all__ = ["GROUP", "EventModel", "combined", "installed_models"]

GROUP: Final = "stoa.event_models"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventModel:
    types: tuple[EventType, ...] = ()
    aggregates: tuple[Aggregate[Any], ...] = ()
    projections: tuple[Projection, ...] = ()

    def registry(self) -> TypeRegistry:
        return TypeRegistry(self.types)

    def by_type(self) -> Aggregates:
        return Aggregates(self.aggregates)


def installed_models(on_broken: Callable[[str, Exception], object] | None = None) -> Sequence[EventModel]:
    """The models of all that is installed, in the order of their names. One that cannot be loaded, or that describes
    again what another has described, is left out and reported (by default to the log of the process): the events
    of the others are to be had all the same, its own pass through unchecked."""
    report = on_broken or _report
    models: list[EventModel] = []
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda each: each.name):
        try:
            model: object = point.load()
            if not isinstance(model, EventModel):
                raise Fault(f"{point.value} is no EventModel, but {model.__class__.__name__}")  # noqa: TRY301 - as what loading raises
            checked = combined([*models, model])
            checked.registry()
            checked.by_type()
        except Exception as error:  # noqa: BLE001 - code of others: whatever it raises concerns that one alone
            report(point.name, error)
            continue
        models.append(model)
    return models


def combined(models: Iterable[EventModel]) -> EventModel:
    """All of them as one. Raises `Fault` for two projections of one name; registries do for types and aggregates."""
    every = list(models)
    names: set[str] = set()
    for projection in (each for model in every for each in model.projections):
        if projection.name in names:
            raise Fault(f"projection {projection.name!r} is described twice", hint="Give one of the two another name.")
        names.add(projection.name)
    return EventModel(
        tuple(each for model in every for each in model.types),
        tuple(each for model in every for each in model.aggregates),
        tuple(each for model in every for each in model.projections),
    )


def _report(name: str, error: Exception) -> None:
    _log.warning("The event model %r is left out: %s: %s", name, error.__class__.__name__, error)
