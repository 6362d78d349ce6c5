"""Handling messages: each at least once, several at a time, again after a failure, and at last as a dead letter.

What holds for every broker is decided here. Order is not promised: a message that comes again comes after others.
Whoever needs the order of a stream follows the log, or keeps a projection.
"""

import hashlib
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from eventlog.bus.bus import Bus, Delivery, Receiver, Subscription
from eventlog.bus.dead_letters import DeadLetters, why
from eventlog.bus.message import Message, decode
from eventlog.bus.routing import is_own
from eventlog.bus.seen import Seen
from eventlog.bus.subjects import tenant_of
from stoa.errors import BadInput, OutcomeUnknown, StoaError, Unavailable
from stoa.resilience.backoff import Backoff

if TYPE_CHECKING:
    from eventlog.log import EventLog

__all__ = ["Handler", "Subscriber"]

Handler = Callable[[Message], Awaitable[None]]
"""Bears the same event again. Raises `Unavailable` where what it needs is away: then it is asked again in place, and no
event is blamed."""

log = logging.getLogger(__name__)

AWAY: Final = Backoff(first_seconds=0.2, most_seconds=15.0)


class Subscriber:
    """Members of one group, in this process. State: the ids that were handled lately, and those being handled."""

    def __init__(
        self,
        bus: Bus,
        log: "EventLog",
        subscription: Subscription,
        handle: Handler,
        *,
        rng: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        away: Backoff = AWAY,
    ) -> None:
        self.subscription = subscription
        self._bus = bus
        self._dead = DeadLetters(log)
        self._handle = handle
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._monotonic = monotonic
        self._away = away
        self._seen = Seen(window_seconds=subscription.seen_seconds, max_ids=subscription.max_seen)
        self._in_hand: set[str] = set()

    def __repr__(self) -> str:
        return f"<Subscriber {self.subscription.name!r}: {len(self._in_hand)} in hand, {self._seen!r}>"

    async def run(self) -> None:
        """Handle messages until cancelled. A broker that is away is waited for."""
        async with anyio.create_task_group() as members:
            for _ in range(self.subscription.max_in_flight):
                members.start_soon(self._be_a_member)

    async def _be_a_member(self) -> None:
        failures = 0
        while True:
            try:
                async with self._bus.listen(self.subscription) as receiver:
                    while True:
                        await self._next(receiver)
                        failures = 0
            except Unavailable as error:
                failures += 1
                if failures == 1:
                    log.warning("subscription %s waits: %s", self.subscription.name, error.message)
                await anyio.sleep(self._away.delay(failures, self._rng))

    async def _next(self, receiver: Receiver) -> None:
        delivery = await receiver.receive()
        try:
            message = decode(self.subscription.interest.channel, delivery.subject, delivery.body)
        except BadInput as error:
            await self._give_up_unreadable(delivery, error)
            return
        id = message.event_id
        if self._seen.has(id, self._monotonic()):
            await delivery.done()
        elif id in self._in_hand:  # somebody thought us dead; whether it comes to an end is seen then
            await delivery.again(self.subscription.ack_seconds)
        else:
            self._in_hand.add(id)
            try:
                await self._attend(delivery, message)
            finally:
                self._in_hand.discard(id)

    async def _attend(self, delivery: Delivery, message: Message) -> None:
        wanted = self.subscription
        failure: Exception | None = None
        if delivery.attempt <= wanted.attempts:
            try:
                async with _kept_alive(delivery, wanted.ack_seconds / 3):
                    await self._handle_patiently(message)
            except Exception as error:  # noqa: BLE001 - whatever a handler raises is its own; it is recorded below
                failure = error
            else:
                self._seen.add(message.event_id, self._monotonic())
                await delivery.done()
                return
        if delivery.attempt < wanted.attempts:
            log.info("subscription %s: %s failed: %s", wanted.name, message.event_id, why(failure or BadInput("")))
            await delivery.again(wanted.backoff.delay(delivery.attempt, self._rng))
            return
        reason = (
            "was delivered again and again, and nobody who took it came to an end" if failure is None else why(failure)
        )
        await self._give_up(delivery, message, reason)

    async def _handle_patiently(self, message: Message) -> None:
        failures = 0
        while True:
            try:
                with anyio.fail_after(self.subscription.handle_seconds):
                    await self._handle(message)
                    return
            except Unavailable as error:
                failures += 1
                if failures == 1:
                    log.warning("subscription %s waits: %s", self.subscription.name, error.message)
                await anyio.sleep(max(error.retry_after or 0.0, self._away.delay(failures, self._rng)))
            except TimeoutError:
                raise TimeoutError(f"took longer than {self.subscription.handle_seconds:g} seconds") from None

    async def _give_up(self, delivery: Delivery, message: Message, reason: str) -> None:
        if is_own(message.type):
            # It is in the log already. Recording it once more would feed whoever fails at it, and without an end.
            log.error("subscription %s gave up %s: %s", self.subscription.name, message.event_id, reason)
        else:
            attempts = min(delivery.attempt, self.subscription.attempts)
            await self._recorded(
                delivery,
                lambda: self._dead.record(self.subscription.name, message, reason=reason, attempts=attempts),
            )
        self._seen.add(message.event_id, self._monotonic())
        await delivery.done()

    async def _give_up_unreadable(self, delivery: Delivery, error: BadInput) -> None:
        log.error("subscription %s: %s", self.subscription.name, error.message)
        try:
            tenant = tenant_of(delivery.subject)
        except BadInput:
            await delivery.done()  # no tenant's: nobody to record it for
            return
        digest = hashlib.sha256(delivery.body).hexdigest()
        await self._recorded(
            delivery,
            lambda: self._dead.record_unreadable(
                self.subscription.name, tenant, digest=digest, reason=error.message, attempts=delivery.attempt
            ),
        )
        await delivery.done()

    async def _recorded(self, delivery: Delivery, record: Callable[[], Awaitable[None]]) -> None:
        """A message is not let go before the log has its dead letter."""
        failures = 0
        async with _kept_alive(delivery, self.subscription.ack_seconds / 3):
            while True:
                try:
                    return await record()
                except (Unavailable, OutcomeUnknown) as error:
                    failures += 1
                    if failures == 1:
                        log.warning("a dead letter waits for the log: %s", error.message)
                    await anyio.sleep(self._away.delay(failures, self._rng))


@asynccontextmanager
async def _kept_alive(delivery: Delivery, every_seconds: float) -> AsyncGenerator[None]:
    """Say now and then that a message is being worked on; an error of the block is raised as it is."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:

        async def say() -> None:
            while True:
                await anyio.sleep(every_seconds)
                try:
                    await delivery.working()
                except StoaError as error:
                    log.debug("no sign of life was given: %s", error.message)

        tasks.start_soon(say)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the group
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
