"""The log that this command works with: a file in STOA_HOME, or PostgreSQL by STOA_DATABASE_URL.

Opened only where it is needed, and with as much as is needed: a run describes its own events alone, so that nothing of
the servers is loaded for it.
"""

from contextlib import AbstractAsyncContextManager

from eventlog.log import EventLog
from eventlog.open import open_log
from eventlog.schemas import EventType, TypeRegistry
from host.events import SCHEMAS
from stoa.settings import Settings

__all__ = ["open_for_runs", "open_whole"]


def open_for_runs(settings: Settings) -> AbstractAsyncContextManager[EventLog]:
    """The log for whoever reads and writes runs."""
    types = TypeRegistry(EventType(name, schemas={1: schema}) for name, schema in SCHEMAS.items())
    return open_log(settings, types=types)


def open_whole(settings: Settings) -> AbstractAsyncContextManager[EventLog]:
    """The log for whoever looks at all of it."""
    return open_for_runs(settings)
