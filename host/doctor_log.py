"""The doctor's look at the event log: where it is, whether it can be read, how long it is."""

import anyio

from eventlog.event import Head
from eventlog.open import open_log
from host.doctor import Check
from stoa.errors import StoaError, Unavailable
from stoa.settings import Settings

__all__ = ["event_log"]

PATIENCE_SECONDS = 10.0
FILE = "events.db"
WHAT = "Event log"


def event_log(settings: Settings) -> Check:
    """Makes no file where there is none, and shows no password."""
    file = settings.home / FILE
    if settings.database_url is None and not file.exists():
        return Check(WHAT, "ok", f"{file} (will be made)")

    async def ask() -> Head:
        with anyio.move_on_after(PATIENCE_SECONDS):
            async with open_log(settings) as log:
                return await log.head()
        raise Unavailable(f"no answer within {PATIENCE_SECONDS:g} seconds")

    try:
        head = anyio.run(ask)
    except StoaError as error:
        return Check(WHAT, "bad", error.message, error.hint)
    where = "PostgreSQL" if settings.database_url is not None else f"{file}, {_size(settings)}"
    newest = f", the newest of {head.recorded_at.astimezone():%Y-%m-%d %H:%M:%S%z}" if head.position else ""
    return Check(WHAT, "ok", f"{where}: {head.position:,} events{newest}")


def _size(settings: Settings) -> str:
    """With what SQLite has not put into its place yet."""
    total = sum(path.stat().st_size for path in settings.home.glob(f"{FILE}*") if path.is_file())
    return f"{total / 2**20:.1f} MiB"
