"""The bus over Redis streams: one stream for each channel, one consumer group for each subscription.

Redis knows nothing of ids of ours: a small script publishes what was not published within the window. It knows no
redelivery either: every member looks now and then for messages that were given out and left alone. That is XPENDING and
XCLAIM rather than XAUTOCLAIM, which does not tell how often a message was delivered.
"""

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final
from uuid import uuid4

import anyio
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from eventlog.bus.bus import Delivery, Keeping, Receiver, Subscription
from eventlog.bus.message import Message, encode
from eventlog.bus.subjects import subject_of
from stoa.errors import Unavailable

__all__ = ["RedisBus"]

BLOCK_SECONDS: Final = 1.0
"""How long one question for new messages waits at the broker; between two, what was left alone is looked for."""
ANSWER_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0
FORGET_SECONDS: Final = 3_600.0
"""After which a member of a group that does nothing and holds nothing is struck off."""

# The id is noted after the message is in: a message that was refused (no memory left) must not count as published.
# Old messages go about when they should: Redis drops whole nodes of its tree.
_PUBLISH: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local now = redis.call('TIME')
local oldest = now[1] * 1000 - ARGV[2]
redis.call('XADD', KEYS[1], 'MINID', '~', string.format('%.0f', oldest), '*', 'subject', ARGV[3], 'body', ARGV[4])
redis.call('SET', KEYS[2], 1, 'PX', ARGV[1])
return 1
"""


class RedisBus:
    """State: a pool of connections; Redis holds the rest. `shown` is the address without what is secret in it."""

    def __init__(
        self,
        url: str,
        *,
        shown: str,
        keeping: Keeping | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = shown
        self._keeping = keeping or Keeping()
        self.monotonic = monotonic
        # RESP2: its answers are the ones that are taken apart below.
        self._redis: Any = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # untyped **kwargs
            url,
            protocol=2,
            socket_connect_timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS + BLOCK_SECONDS,
        )
        self._publish = self._redis.register_script(_PUBLISH)

    def __repr__(self) -> str:
        return f"<RedisBus at {self._shown}>"

    @property
    def is_shared(self) -> bool:
        return True

    async def publish(self, channel: str, message: Message) -> None:
        keeping = self._keeping
        with self.explained():
            await self._publish(
                keys=[_stream(channel), f"{_name(channel)}:id:{message.event_id}"],
                args=[
                    round(keeping.duplicate_seconds * 1000),
                    round(keeping.seconds * 1000),
                    subject_of(channel, message.tenant, message.type),
                    encode(message),
                ],
            )

    @asynccontextmanager
    async def listen(self, subscription: Subscription) -> AsyncGenerator[Receiver]:
        stream, group, member = _stream(subscription.interest.channel), subscription.name, uuid4().hex
        with self.explained():
            try:
                await self._redis.xgroup_create(stream, group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):  # it is there already
                    raise
            await self._strike_off(stream, group)
        try:
            yield _Receiver(self, self._redis, stream, member, subscription)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1), suppress(RedisError, OSError):
                if not await self._redis.xpending_range(stream, group, "-", "+", 1, consumername=member):
                    await self._redis.xgroup_delconsumer(stream, group, member)

    async def close(self) -> None:
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    @contextmanager
    def explained(self) -> Generator[None]:
        """What the client raises becomes `Unavailable`, without words that could repeat the address."""
        try:
            yield
        except AuthenticationError:
            raise self._away("it refuses the user or the password") from None
        except ResponseError as error:
            raise self._away(str(error)) from error
        except (RedisError, OSError) as error:
            raise self._away(type(error).__name__) from None

    def _away(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The Redis server at {self._shown} does not answer as it should ({reason}).",
            hint="Start it, version 6.2 or newer, or mend STOA_BUS_URL.",
            retry_after=RETRY_SECONDS,
        )

    async def _strike_off(self, stream: str, group: str) -> None:
        for each in await self._redis.xinfo_consumers(stream, group):
            if each["pending"] == 0 and each["idle"] > FORGET_SECONDS * 1000:
                await self._redis.xgroup_delconsumer(stream, group, each["name"])


class _Receiver:
    """One member of a group. `_look_at` is when it next looks for what was left alone."""

    def __init__(self, bus: RedisBus, redis: Any, stream: str, member: str, subscription: Subscription) -> None:
        self.bus = bus
        self.redis = redis
        self.stream = stream
        self.member = member
        self.group = subscription.name
        self.ack_ms = round(subscription.ack_seconds * 1000)
        self._interest = subscription.interest
        self._look_every = min(BLOCK_SECONDS, subscription.ack_seconds / 3)
        self._look_at = bus.monotonic()

    async def receive(self) -> Delivery:
        while True:
            with self.bus.explained():
                delivery = await self._left_alone() or await self._fresh()
                if delivery is None:
                    continue
                if self._interest.wants(delivery.subject):
                    return delivery
                await self.redis.xack(self.stream, self.group, delivery.id)

    def look_within(self, seconds: float) -> None:
        self._look_at = min(self._look_at, self.bus.monotonic() + seconds)

    async def _left_alone(self) -> "_Delivery | None":
        if self.bus.monotonic() < self._look_at:
            return None
        found = await self.redis.xpending_range(self.stream, self.group, "-", "+", 1, idle=self.ack_ms)
        if not found:
            self._look_at = self.bus.monotonic() + self._look_every
            return None
        id, delivered = found[0]["message_id"], found[0]["times_delivered"]
        claimed = await self.redis.xclaim(self.stream, self.group, self.member, self.ack_ms, [id])
        if not claimed:
            return None  # another member was faster
        if claimed[0][0] is None:  # it was given out and is not kept any more
            await self.redis.xack(self.stream, self.group, id)
            return None
        return _Delivery(self, id, claimed[0][1], delivered + 1)

    async def _fresh(self) -> "_Delivery | None":
        wait = max(0.001, min(BLOCK_SECONDS, self._look_at - self.bus.monotonic()))
        found = await self.redis.xreadgroup(
            self.group, self.member, {self.stream: ">"}, count=1, block=max(1, round(wait * 1000))
        )
        if not found:
            return None
        ((_, ((id, fields),)),) = found
        return _Delivery(self, id, fields, 1)


class _Delivery:
    def __init__(self, receiver: _Receiver, id: bytes, fields: dict[bytes, bytes], attempt: int) -> None:
        self._receiver = receiver
        self.id = id
        self.subject = fields.get(b"subject", b"").decode(errors="replace")
        self.body = fields.get(b"body", b"")
        self.attempt = attempt

    async def done(self) -> None:
        receiver = self._receiver
        with receiver.bus.explained():
            await receiver.redis.xack(receiver.stream, receiver.group, self.id)

    async def again(self, after_seconds: float) -> None:
        """Set back how long it has been left alone, so that it is taken up in `after_seconds`."""
        receiver = self._receiver
        idle = max(0, receiver.ack_ms - round(after_seconds * 1000))
        with receiver.bus.explained():
            await self._claim(idle)
        receiver.look_within(after_seconds)

    async def working(self) -> None:
        with self._receiver.bus.explained():
            await self._claim(0)

    async def _claim(self, idle_ms: int) -> None:
        receiver = self._receiver
        await receiver.redis.xclaim(
            receiver.stream, receiver.group, receiver.member, 0, [self.id], idle=idle_ms, justid=True
        )


def _name(channel: str) -> str:
    """What is in braces decides where a cluster keeps a key: all of one channel lie together."""
    return f"{{stoa:{channel}}}"


def _stream(channel: str) -> str:
    return f"{_name(channel)}:stream"
