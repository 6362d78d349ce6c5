"""The log that this command works with: a file in STOA_HOME, or PostgreSQL by STOA_DATABASE_URL.

Opened with as much as is needed: a run describes its own events alone, so that nothing of the servers is loaded for it;
whoever looks into the log gets all that is installed.
"""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from eventlog.log import EventLog
from eventlog.open import open_log
from eventlog.schemas import EventType, TypeRegistry
from host.run_events import SCHEMAS
from stoa.settings import Settings

if TYPE_CHECKING:
    from eventlog.model import EventModel

__all__ = ["Whole", "open_for_runs", "open_whole"]


class Whole(NamedTuple):
    """The log, and what all that is installed has described of it."""

    log: EventLog
    model: "EventModel"


def open_for_runs(settings: Settings) -> AbstractAsyncContextManager[EventLog]:
    """The log for whoever reads and writes runs."""
    types = TypeRegistry(EventType(name, schemas={1: schema}) for name, schema in SCHEMAS.items())
    return open_log(settings, types=types)


@asynccontextmanager
async def open_whole(settings: Settings) -> AsyncGenerator[Whole]:
    """The log for whoever looks at all of it."""
    from eventlog.model import combined, installed_models

    model = combined(installed_models())
    async with open_log(settings, types=model.registry()) as log:
        yield Whole(log, model)
