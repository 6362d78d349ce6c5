"""What the event log is told of this server's events, for whoever opens the log: an entry point of the installation."""

from typing import Final

from eventlog.model import EventModel
from servers.content.events import EVENT_TYPES

__all__ = ["MODEL"]

MODEL: Final = EventModel(types=EVENT_TYPES)
