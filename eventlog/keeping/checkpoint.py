"""Is this still the log that somebody has read? Asked before going on from a checkpoint."""

from collections.abc import Sequence
from typing import Final, cast

from eventlog.chain import START
from eventlog.event import Checkpoint
from eventlog.log import EventLog

__all__ = ["fits"]

_LOOK: Final = """
SELECT log.epoch, log.position,
       (SELECT checksum FROM event WHERE position = $1), (SELECT checksum FROM truncated WHERE position = $1)
FROM log
"""


async def fits(log: EventLog, checkpoint: Checkpoint) -> str | None:
    """None when the log holds what was read up to the checkpoint; else the reason why not, as a sentence for people:
    another log, or this one restored from an older copy.

    Every event after the copy was made is another one than before, with another id: as soon as the restored log has
    grown past the checkpoint's position, the checksum there differs; until then it is too short.
    """
    rows = cast(
        Sequence[tuple[str, int, bytes | None, bytes | None]], await log.database.fetch(_LOOK, checkpoint.position)
    )
    epoch, position, kept, truncated = rows[0]
    if epoch != checkpoint.epoch:
        return f"this is another log (epoch {epoch}, not {checkpoint.epoch})"
    if position < checkpoint.position:
        return (
            f"the log ends at position {position}, before {checkpoint.position} that was read already:"
            " it was restored from an older copy"
        )
    found = START if checkpoint.position == 0 else kept or truncated
    if found is None:
        return f"the event at position {checkpoint.position} that was read already is missing"
    if found != checkpoint.checksum:
        return (
            f"the event at position {checkpoint.position} is not the one that was read:"
            " the log was restored from an older copy"
        )
    return None
