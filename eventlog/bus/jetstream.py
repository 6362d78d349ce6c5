"""The bus over NATS JetStream: one stream for each channel, one durable pull consumer for each subscription.

The broker itself never gives a message up (`max_deliver` is without bound): that is decided above, where it is
recorded in the log. Each member pulls one message at a time; nats-py answers a pull of several only when all of them
came or time was up.
"""

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import anyio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error, TimeoutError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    Header,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, BadRequestError, NoStreamResponseError, NotFoundError

from eventlog.bus.bus import Delivery, Keeping, Receiver, Subscription
from eventlog.bus.message import Message, encode
from eventlog.bus.subjects import subject_of
from stoa.errors import Unavailable

__all__ = ["JetStreamBus"]

log = logging.getLogger(__name__)

PULL_SECONDS: Final = 5.0
"""How long one request for a message waits at the broker."""
ANSWER_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0


class JetStreamBus:
    """State: the connection, opened by the first who needs it and mended by nats-py, and the streams known to be there.
    `shown` is the address without what is secret in it."""

    def __init__(self, url: str, *, shown: str, keeping: Keeping | None = None) -> None:
        self._url = url
        self._shown = shown
        self._keeping = keeping or Keeping()
        self._client: Client | None = None
        self._connecting = anyio.Lock()
        self._streams: set[str] = set()

    def __repr__(self) -> str:
        state = "not connected" if self._client is None or not self._client.is_connected else "connected"
        return f"<JetStreamBus at {self._shown}, {state}>"

    @property
    def is_shared(self) -> bool:
        return True

    async def publish(self, channel: str, message: Message) -> None:
        with self._explained():
            stream = await self._stream(channel)
            jetstream = await self._jetstream()
            try:
                await jetstream.publish(
                    subject_of(channel, message.tenant, message.type),
                    encode(message),
                    stream=stream,
                    headers={Header.MSG_ID: message.event_id},
                )
            except (NoStreamResponseError, NotFoundError):
                self._streams.discard(channel)  # removed under our hands: the next attempt makes it again
                raise

    @asynccontextmanager
    async def listen(self, subscription: Subscription) -> AsyncGenerator[Receiver]:
        with self._explained():
            stream = await self._stream(subscription.interest.channel)
            jetstream = await self._jetstream()
            await _ensure_consumer(jetstream, stream, subscription)
            pull = await jetstream.pull_subscribe_bind(consumer=subscription.name, stream=stream)
        try:
            yield _Receiver(self, pull)
        finally:
            with anyio.CancelScope(shield=True), suppress(Error, OSError):
                await pull.unsubscribe()  # the broker then forgets a request that nobody waits for

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with anyio.CancelScope(shield=True), anyio.move_on_after(ANSWER_SECONDS), suppress(Error, OSError):
                await client.close()

    async def receive(self, pull: JetStreamContext.PullSubscription) -> Delivery:
        while True:
            with self._explained():
                try:
                    (message,) = await pull.fetch(1, timeout=PULL_SECONDS)
                except TimeoutError:
                    if self._client is None or not self._client.is_connected:
                        raise
                    continue
                return _Delivery(self, message)

    @contextmanager
    def explained(self) -> Generator[None]:
        with self._explained():
            yield

    async def _jetstream(self) -> JetStreamContext:
        return JetStreamContext(await self._connected(), timeout=ANSWER_SECONDS)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is not None and not self._client.is_closed:
                return self._client
            client = Client()
            try:
                with anyio.fail_after(ANSWER_SECONDS):
                    await client.connect(
                        self._url,
                        error_cb=_hear_error,
                        allow_reconnect=True,
                        max_reconnect_attempts=-1,
                        reconnect_time_wait=RETRY_SECONDS,  # pyright: ignore[reportArgumentType]  # seconds, may be parts
                        connect_timeout=int(ANSWER_SECONDS),
                    )
            except BaseException:
                with anyio.CancelScope(shield=True), anyio.move_on_after(1), suppress(Error, OSError):
                    await client.close()
                raise
            self._client = client
            return client

    async def _stream(self, channel: str) -> str:
        """Its name. A stream that is there stays as it is: whoever runs the broker may have other wishes than we."""
        name = f"stoa_{channel}"
        if channel not in self._streams:
            jetstream = await self._jetstream()
            try:
                await jetstream.stream_info(name)
            except NotFoundError:
                await jetstream.add_stream(  # pyright: ignore[reportUnknownMemberType]  # untyped **params
                    StreamConfig(
                        name=name,
                        subjects=[f"{channel}.>"],
                        max_age=self._keeping.seconds,
                        max_bytes=self._keeping.max_bytes,
                        duplicate_window=min(self._keeping.duplicate_seconds, self._keeping.seconds),
                        discard=DiscardPolicy.OLD,
                        storage=StorageType.FILE,
                    )
                )
            self._streams.add(channel)
        return name

    @contextmanager
    def _explained(self) -> Generator[None]:
        """What the client raises becomes `Unavailable`. Its words may repeat the address: only its kind is told."""
        try:
            yield
        except APIError as error:
            raise self._away(f"{error.code} {error.description}") from error
        except (Error, OSError, TimeoutError) as error:
            raise self._away(type(error).__name__) from None

    def _away(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The NATS server at {self._shown} does not answer ({reason}).",
            hint="Start it with JetStream (nats-server -js), or mend STOA_BUS_URL.",
            retry_after=RETRY_SECONDS,
        )


class _Receiver:
    def __init__(self, bus: JetStreamBus, pull: JetStreamContext.PullSubscription) -> None:
        self._bus = bus
        self._pull = pull

    async def receive(self) -> Delivery:
        return await self._bus.receive(self._pull)


class _Delivery:
    def __init__(self, bus: JetStreamBus, message: Msg) -> None:
        self._bus = bus
        self._message = message
        self.attempt = message.metadata.num_delivered

    @property
    def subject(self) -> str:
        return self._message.subject

    @property
    def body(self) -> bytes:
        return self._message.data

    async def done(self) -> None:
        with self._bus.explained():
            await self._message.ack_sync(timeout=ANSWER_SECONDS)

    async def again(self, after_seconds: float) -> None:
        with self._bus.explained():
            await self._message.nak(delay=after_seconds)

    async def working(self) -> None:
        with self._bus.explained():
            await self._message.in_progress()


async def _ensure_consumer(jetstream: JetStreamContext, stream: str, subscription: Subscription) -> None:
    """Made, or brought to what is wanted now."""
    patterns = list(subscription.interest.patterns())
    config = ConsumerConfig(
        name=subscription.name,
        durable_name=subscription.name,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=subscription.ack_seconds,
        max_deliver=-1,
        max_ack_pending=max(1_000, subscription.max_in_flight),
        filter_subject=patterns[0] if len(patterns) == 1 else None,
        filter_subjects=patterns if len(patterns) > 1 else None,
    )
    try:
        await jetstream.add_consumer(stream, config)  # pyright: ignore[reportUnknownMemberType]  # untyped **params
    except BadRequestError:
        await jetstream.consumer_info(stream, subscription.name)  # another member may just have made it


async def _hear_error(error: Exception) -> None:
    log.debug("nats: %s", type(error).__name__)
