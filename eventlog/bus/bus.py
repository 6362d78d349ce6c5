"""The seam under the bus: what a broker has to do for us. It stands in three ways: in process, NATS JetStream, Redis
streams.

A broker keeps messages for a while, gives each to one member of every group, and gives it again when the member does
not say that it is done. What is done with a message, how often, and what becomes of one that nobody can handle is
decided above (`eventlog.bus.subscriber`), once for all brokers.
"""

import re
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from eventlog.bus.message import Message
from eventlog.bus.subjects import Interest
from eventlog.names import shown
from stoa.errors import BadInput
from stoa.resilience.backoff import Backoff

__all__ = ["Bus", "Delivery", "Keeping", "Receiver", "Subscription"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,59}")


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long a broker keeps the messages of a channel, and how long it knows ids again. `max_bytes` is of a channel
    in NATS; Redis is bounded by its own `maxmemory`."""

    seconds: float = 7 * 86_400.0
    max_bytes: int = 2**30
    duplicate_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A group of subscribers, in as many processes as there are: each message goes to one of them.

    `attempts` counts deliveries, also those whose receiver died. After a failure, the message comes again after a wait
    (`backoff`); after the last, it becomes a dead letter. `ack_seconds` is how long a broker waits for a sign of life;
    one is given all the while a handler works, but for no longer than `handle_seconds`.
    """

    name: str
    interest: Interest = field(default_factory=Interest)
    max_in_flight: int = 8
    attempts: int = 3
    backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=1.0, factor=4.0, most_seconds=60.0))
    ack_seconds: float = 30.0
    handle_seconds: float = 300.0
    seen_seconds: float = 300.0
    max_seen: int = 100_000

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadInput(
                f"{shown(self.name)} cannot be the name of a subscription.",
                hint="Use a small letter, then small letters, digits, '_' and '-', at most 60 in all.",
            )
        if self.max_in_flight < 1 or self.attempts < 1:
            raise BadInput(f"Subscription {self.name!r} needs at least one message in flight and one attempt.")


class Delivery(Protocol):
    """A message in the hands of one receiver. `attempt` counts from 1."""

    @property
    def subject(self) -> str: ...

    @property
    def body(self) -> bytes: ...

    @property
    def attempt(self) -> int: ...

    async def done(self) -> None:
        """It will not come again. Raises `Unavailable`; it then may."""
        ...

    async def again(self, after_seconds: float) -> None:
        """Give it back; it comes again, to some member of the group. Redis waits `ack_seconds` at most."""
        ...

    async def working(self) -> None:
        """A sign of life: wait another `ack_seconds` before it is given to another."""
        ...


class Receiver(Protocol):
    async def receive(self) -> Delivery:
        """Wait for the next message. Raises `Unavailable` when the broker is away."""
        ...


class Bus(Protocol):
    @property
    def is_shared(self) -> bool:
        """Whether other processes hear what is published here."""
        ...

    async def publish(self, channel: str, message: Message) -> None:
        """Hand a message over for good. The same event id again, soon after, is not published twice. Raises
        `Unavailable` when that is not certain."""
        ...

    def listen(self, subscription: Subscription) -> AbstractAsyncContextManager[Receiver]:
        """Be one member of the group; a member handles one message at a time. A new group begins with the oldest
        message that is kept (in process: with the next one)."""
        ...
