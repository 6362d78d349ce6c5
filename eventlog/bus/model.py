"""What the bus itself tells, for whoever opens the log: an entry point of the installation."""

from typing import Final

from eventlog.bus.dead_letters import TYPES
from eventlog.model import EventModel

__all__ = ["MODEL"]

MODEL: Final = EventModel(types=TYPES)
