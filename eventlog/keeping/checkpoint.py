"""Is this still the log that somebody has read? Asked before going on from a checkpoint."""

from eventlog.event import Checkpoint
from eventlog.log import EventLog

__all__ = ["fits"]


async def fits(log: EventLog, checkpoint: Checkpoint) -> str | None:
    """None when the log holds what was read up to the checkpoint; else the reason why not, as a sentence for people:
    another log, or this one restored from an older copy."""
    raise NotImplementedError
