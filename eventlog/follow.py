"""Following the log: what is there already, then what comes, without a gap or a repeat between the two.

There is one way of reading for both: by position, which is in the order of commits. Being told that the log has grown
only ends a wait; nothing is ever taken from the telling itself.
"""

from collections.abc import AsyncGenerator, Sequence

from eventlog.event import Event, Filter
from eventlog.scanning import Scanning
from eventlog.store import Store

__all__ = ["follow"]


async def follow(
    scanning: Scanning, store: Store, after: int, filter: Filter, batch: int
) -> AsyncGenerator[Sequence[Event]]:
    while True:
        page = await scanning.forwards(after, None, filter, batch)
        if page.events:
            after = page.reached
            yield page.events
        elif page.reached > after:
            after = page.reached
        else:
            await store.grown(after)
