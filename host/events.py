"""What the host brings to the event log: the types of a run's events, and what a run adds up to.

Found by entry point (`stoa.event_models`), so that whoever opens the log knows them without importing the host.
"""

from typing import Final

from eventlog.aggregates.aggregate import Aggregate
from eventlog.model import EventModel
from eventlog.schemas import EventType
from host.run_events import DESCRIPTIONS, SCHEMAS
from host.run_state import INITIAL, apply

__all__ = ["MODEL", "RUN"]

RUN: Final = Aggregate(
    type="run",
    initial=dict(INITIAL),
    apply=apply,
    sees_erased=True,  # that a run has ended is to be seen also when what it said is gone
    description="A run of an agent: its task, what it called, and what came of it.",
)

MODEL: Final = EventModel(
    types=tuple(
        EventType(name, description=DESCRIPTIONS[name], schemas={1: schema}) for name, schema in SCHEMAS.items()
    ),
    aggregates=(RUN,),
)
