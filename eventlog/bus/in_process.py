"""The bus within one process: nothing to install, nothing that outlives it.

A group is there while it has members. Back-pressure is waiting: a publisher waits while a group is full.
"""

import heapq
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import anyio

from eventlog.bus.bus import Delivery, Keeping, Receiver, Subscription
from eventlog.bus.message import Message, encode
from eventlog.bus.seen import Seen
from eventlog.bus.subjects import subject_of

__all__ = ["MAX_WAITING", "InProcessBus"]

MAX_WAITING: Final = 10_000
"""Messages of one group that nobody has taken yet."""
MAX_IDS: Final = 100_000


class InProcessBus:
    """State: the groups by name, and the ids that were published lately."""

    def __init__(
        self,
        *,
        keeping: Keeping | None = None,
        max_waiting: int = MAX_WAITING,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_waiting = max_waiting
        self._monotonic = monotonic
        self._groups: dict[str, _Group] = {}
        self._published = Seen(window_seconds=(keeping or Keeping()).duplicate_seconds, max_ids=MAX_IDS)

    def __repr__(self) -> str:
        return f"<InProcessBus of {len(self._groups)} groups>"

    @property
    def is_shared(self) -> bool:
        return False

    async def publish(self, channel: str, message: Message) -> None:
        id = f"{channel} {message.event_id}"
        if self._published.has(id, self._monotonic()):
            return
        subject, body = subject_of(channel, message.tenant, message.type), encode(message)
        for group in list(self._groups.values()):
            if group.subscription.interest.wants(subject):
                await group.put(subject, body)
        self._published.add(id, self._monotonic())

    @asynccontextmanager
    async def listen(self, subscription: Subscription) -> AsyncGenerator[Receiver]:
        group = self._groups.get(subscription.name)
        if group is None:
            group = self._groups[subscription.name] = _Group(subscription, self._max_waiting, self._monotonic)
        member = _Member(group)
        group.members += 1
        try:
            yield member
        finally:
            group.members -= 1
            member.leave()
            if group.members == 0:
                self._groups.pop(subscription.name, None)
                group.close()


@dataclass(slots=True, eq=False)
class _Delivery:
    group: "_Group"
    subject: str
    body: bytes
    attempt: int = 0
    is_settled: bool = True

    async def done(self) -> None:
        self.is_settled = True

    async def again(self, after_seconds: float) -> None:
        self.is_settled = True
        self.group.put_back(self, after_seconds)

    async def working(self) -> None:
        pass


@dataclass(slots=True, eq=False)
class _Group:
    subscription: Subscription
    max_waiting: int
    monotonic: Callable[[], float]
    members: int = 0
    ready: deque[_Delivery] = field(default_factory=deque[_Delivery])
    later: list[tuple[float, int, _Delivery]] = field(default_factory=list[tuple[float, int, _Delivery]])
    is_closed: bool = False
    _number: "count[int]" = field(default_factory=count)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def put(self, subject: str, body: bytes) -> None:
        while len(self.ready) >= self.max_waiting and not self.is_closed:
            await self._changed.wait()
        self.ready.append(_Delivery(self, subject, body))
        self._wake()

    def put_back(self, delivery: _Delivery, after_seconds: float) -> None:
        heapq.heappush(self.later, (self.monotonic() + after_seconds, next(self._number), delivery))
        self._wake()

    async def take(self) -> _Delivery:
        while True:
            while self.later and self.later[0][0] <= self.monotonic():
                self.ready.append(heapq.heappop(self.later)[2])
            if self.ready:
                delivery = self.ready.popleft()
                delivery.attempt += 1
                delivery.is_settled = False
                self._wake()
                return delivery
            wait = self.later[0][0] - self.monotonic() if self.later else float("inf")
            with anyio.move_on_after(wait):
                await self._changed.wait()

    def close(self) -> None:
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@dataclass(slots=True, eq=False)
class _Member:
    group: _Group
    held: list[_Delivery] = field(default_factory=list[_Delivery])

    async def receive(self) -> Delivery:
        delivery = await self.group.take()
        self.held = [each for each in self.held if not each.is_settled]
        self.held.append(delivery)
        return delivery

    def leave(self) -> None:
        for each in self.held:
            if not each.is_settled:
                each.is_settled = True
                self.group.put_back(each, 0.0)
