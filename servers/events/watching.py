"""Resources that clients have subscribed to: one task follows the log while there are any, and tells what is new.

So clients hear of every event, whichever process has appended it. What happens while they are told is told together.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import anyio

from eventlog.event import Event
from eventlog.projections.projection import Projection, is_wanted
from kit.call import current_call
from kit.subscriptions import Release
from servers.events.addresses import Topic, topic_of, topics_of
from stoa.errors import StoaError, Unavailable

if TYPE_CHECKING:  # the log is imported when it is opened
    from servers.events.journal import Journal

__all__ = ["Watching", "news"]

logger = logging.getLogger(__name__)

MAX_WATCHED: Final = 50_000
MAX_WATCHED_EACH: Final = 10_000
"""Of one tenant."""
MAX_SPELLINGS: Final = 10
"""Of the address of one thing: each is told."""
ROUND_SECONDS: Final = 0.02
"""At most one round of news in this time: a busy stream is told of fifty times a second, not a thousand times."""
AGAIN_SECONDS: Final = 1.0
APPLY_SECONDS: Final = 10.0
"""How long news of a projection wait for the projection to have read the events."""

Tell = Callable[[str, str], Awaitable[None]]
"""Tell the subscribers of an address who belong to a tenant."""


class Watching:
    """State: the addresses of each topic with how many hold them, and whether the log is being followed."""

    def __init__(self, journal: "Journal", *, tell: Tell) -> None:
        self._journal = journal
        self._tell = tell
        self._topics: dict[Topic, dict[str, int]] = {}
        self._behind: dict[Topic, int] = {}
        self._untold: dict[str, dict[Topic, None]] = {}
        self._is_following = False
        self._starting = anyio.Lock()

    def __repr__(self) -> str:
        return f"<Watching {len(self._topics)} topics{', following the log' if self._is_following else ''}>"

    async def watch(self, uri: str) -> Release:
        """Watch an address for the present caller until the release is called: from now on no event goes untold.

        Raises `BadInput` for an impossible name, `Unavailable` where too many are watched or the log is away.
        """
        tenant = current_call().principal.tenant
        topic = topic_of(uri, tenant)
        if topic is None:
            return lambda: None
        journal = await self._journal.opened()
        if topic.kind == "projection":
            journal.projector.get(topic.name)
        self._hold(topic, uri)
        try:
            async with self._starting:
                if not self._is_following:
                    head = await journal.log.head()
                    self._is_following = True
                    self._journal.tasks.start_soon(self._follow, head.position)
        except BaseException:
            self._release(topic, uri)
            raise
        is_held = True

        def release() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._release(topic, uri)

        return release

    def _hold(self, topic: Topic, uri: str) -> None:
        uris = self._topics.get(topic, {})
        if not uris:
            own = sum(each.tenant == topic.tenant for each in self._topics)
            for watched, limit in ((own, MAX_WATCHED_EACH), (len(self._topics), MAX_WATCHED)):
                if watched >= limit:
                    raise Unavailable(f"{limit:,} resources are watched already.", hint="Unsubscribe from some.")
        elif uri not in uris and len(uris) >= MAX_SPELLINGS:
            raise Unavailable(
                f"{topic.name!r} is watched under {MAX_SPELLINGS} addresses already.",
                hint="Write the address as resources/templates/list shows it.",
            )
        uris = self._topics.setdefault(topic, {})
        uris[uri] = uris.get(uri, 0) + 1

    def _release(self, topic: Topic, uri: str) -> None:
        uris = self._topics[topic]
        uris[uri] -= 1
        if not uris[uri]:
            del uris[uri]
        if not uris:
            del self._topics[topic]

    async def _follow(self, position: int) -> None:
        """Until nobody watches anything. A log that is away is asked again."""
        try:
            while self._topics:
                try:
                    journal = await self._journal.opened()
                    async with aclosing(journal.log.follow(position)) as pages:
                        async for page in pages:
                            if not self._topics:
                                return
                            await self._say(page)
                            position = page[-1].position
                            await anyio.sleep(ROUND_SECONDS)
                except StoaError as error:
                    logger.warning("the log cannot be followed at the moment: %s", error)
                    await anyio.sleep(AGAIN_SECONDS)
        finally:
            self._is_following = False

    async def _say(self, batch: Sequence[Event]) -> None:
        journal = await self._journal.opened()
        known = {name: journal.projector.get(name) for name in journal.projector.names()}
        for topic, position in news(batch, self._topics, projections=known).items():
            if topic.kind == "projection":
                if topic not in self._behind:
                    self._journal.tasks.start_soon(self._say_when_read, topic)
                self._behind[topic] = position
            elif (untold := self._untold.get(topic.tenant)) is not None:
                untold[topic] = None
            else:
                self._untold[topic.tenant] = {topic: None}
                self._journal.tasks.start_soon(self._tell_tenant, topic.tenant)

    async def _tell_tenant(self, tenant: str) -> None:
        """One task for each tenant with news: whose clients do not read keeps nobody else waiting."""
        untold = self._untold[tenant]
        try:
            while untold:
                topic = next(iter(untold))
                del untold[topic]
                await self._announce(topic)
        finally:
            del self._untold[tenant]

    async def _say_when_read(self, topic: Topic) -> None:
        """The projection may be a moment behind, here or in another process. After a while it is told all the same."""
        told = 0
        try:
            while (position := self._behind[topic]) > told and topic in self._topics:
                journal = await self._journal.opened()
                try:
                    await journal.projector.wait_for(topic.name, position, seconds=APPLY_SECONDS)
                except StoaError as error:
                    logger.info("news of the projection %r are told early: %s", topic.name, error)
                await self._announce(topic)
                told = position
        finally:
            del self._behind[topic]

    async def _announce(self, topic: Topic) -> None:
        for uri in list(self._topics.get(topic, ())):
            await self._tell(uri, topic.tenant)


def news(
    batch: Iterable[Event], watched: Iterable[Topic], *, projections: Mapping[str, Projection]
) -> dict[Topic, int]:
    """What of the watched has news in the batch, with the position of the last of them. Pure."""
    watched = frozenset(watched)
    reading = [topic for topic in watched if topic.kind == "projection"]
    found: dict[Topic, int] = {}
    for event in batch:
        for topic in topics_of(event):
            if topic in watched:
                found[topic] = event.position
        for topic in reading:
            if topic.tenant == event.tenant and is_wanted(event, projections[topic.name]):
                found[topic] = event.position
    return found
