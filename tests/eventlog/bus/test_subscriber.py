"""Handling: at least once, again after a failure, and at last a dead letter in the log."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from eventlog.bus.bus import Bus, Subscription
from eventlog.bus.dead_letters import DEAD_LETTERED, TYPES, DeadLetters
from eventlog.bus.in_process import InProcessBus
from eventlog.bus.message import Message
from eventlog.bus.subjects import Interest
from eventlog.bus.subscriber import Subscriber
from eventlog.event import NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.open import open_memory
from eventlog.schemas import TypeRegistry
from stoa.errors import BadInput, NotFound, Unavailable
from stoa.resilience.backoff import Backoff
from tests.eventlog.bus.messages import id_of, message

SOON = Backoff(first_seconds=0.02, most_seconds=0.05, floor_seconds=0.01)


@pytest.fixture
async def log() -> AsyncIterator[EventLog]:
    async with open_memory(TypeRegistry(TYPES)) as log:
        yield log


class Desk:
    """A handler that writes down what it gets, and does what it is told for each number."""

    def __init__(self, doing: Callable[[Message, int], Awaitable[None]] | None = None) -> None:
        self.got: list[int] = []
        self._doing = doing
        self._changed = anyio.Event()

    async def handle(self, message: Message) -> None:
        self.got.append(message.position)
        self._changed.set()
        self._changed = anyio.Event()
        if self._doing is not None:
            await self._doing(message, self.got.count(message.position))

    async def until(self, is_so: Callable[[], bool]) -> None:
        with anyio.fail_after(20):
            while not is_so():
                await self._changed.wait()


def subscription(**options: Any) -> Subscription:
    options.setdefault("backoff", SOON)
    options.setdefault("ack_seconds", 1.0)
    return Subscription(name="shipping", **options)


@asynccontextmanager
async def subscribed(bus: Bus, log: EventLog, desk: Desk, **options: Any) -> AsyncGenerator[Subscriber]:
    subscriber = Subscriber(bus, log, subscription(**options), desk.handle, rng=random.Random(7), away=SOON)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(subscriber.run)
        await anyio.wait_all_tasks_blocked()
        yield subscriber
        tasks.cancel_scope.cancel()


async def dead_letters(log: EventLog, count: int, tenant: str = "acme") -> Any:
    with anyio.fail_after(20):
        position = 0
        while len(letters := await DeadLetters(log).list(tenant, "shipping")) < count:
            await log.grown(position)
            position = (await log.head()).position
        return letters


async def test_each_message_is_handled_once_though_it_is_published_again_later(bus: Bus, log: EventLog) -> None:
    desk = Desk()
    async with subscribed(bus, log, desk):
        for number in (1, 2, 1, 3):
            await bus.publish("events", message(number))
        await desk.until(lambda: len(desk.got) == 3)
        await bus.publish("events", message(2))
        await bus.publish("events", message(4))
        await desk.until(lambda: 4 in desk.got)
    assert sorted(desk.got) == [1, 2, 3, 4]


async def test_a_repeat_beyond_the_brokers_window_is_known_by_the_subscriber(log: EventLog) -> None:
    from eventlog.bus.bus import Keeping

    bus, desk = InProcessBus(keeping=Keeping(duplicate_seconds=-1.0)), Desk()
    async with subscribed(bus, log, desk, max_in_flight=1):
        for number in (1, 1, 2):
            await bus.publish("events", message(number))
        await desk.until(lambda: 2 in desk.got)
    assert desk.got == [1, 2]


async def test_what_fails_comes_again_and_others_go_on(bus: Bus, log: EventLog) -> None:
    async def fail_twice(message: Message, time: int) -> None:
        if message.position == 1 and time < 3:
            raise RuntimeError("not yet")

    desk = Desk(fail_twice)
    async with subscribed(bus, log, desk, max_in_flight=1):
        for number in (1, 2, 3):
            await bus.publish("events", message(number))
        await desk.until(lambda: len(desk.got) == 5)
    assert desk.got.count(1) == 3
    assert {2, 3} < set(desk.got)
    assert await DeadLetters(log).list("acme", "shipping") == []


async def test_what_always_fails_becomes_a_dead_letter_in_the_log_and_does_not_come_again(
    bus: Bus, log: EventLog
) -> None:
    async def fail(message: Message, _: int) -> None:
        if message.position == 1:
            raise ValueError("the\nparcel is too big")

    desk = Desk(fail)
    async with subscribed(bus, log, desk):
        await bus.publish("events", message(1))
        (letter,) = await dead_letters(log, 1)
        await bus.publish("events", message(2))
        await desk.until(lambda: 2 in desk.got)
    assert desk.got.count(1) == 3
    assert (letter.event_id, letter.stream, letter.version, letter.position) == (id_of(1), "order-1", 1, 1)
    assert (letter.reason, letter.attempts) == ("ValueError: the parcel is too big", 3)
    (event,) = await log.read_stream(StreamId("acme", "bus-shipping"))
    assert (event.type, event.metadata.causation_id) == (DEAD_LETTERED, id_of(1))
    assert "text" not in event.data  # a reference, no copy
    again = Desk(fail)
    async with subscribed(bus, log, again):
        await bus.publish("events", message(3))
        await again.until(lambda: 3 in again.got)
    assert 1 not in again.got


async def test_a_dead_letter_is_recorded_once_and_for_its_own_tenant(log: EventLog) -> None:
    dead = DeadLetters(log)
    for _ in range(2):
        await dead.record("shipping", message(1), reason="x", attempts=3)
    await dead.record("billing", message(1), reason="x", attempts=3)
    await dead.record("shipping", message(1, tenant="other"), reason="x", attempts=3)
    assert len(await dead.list("acme", "shipping")) == len(await dead.list("other", "shipping")) == 1
    assert await dead.list("third", "shipping") == []
    assert (await log.head()).position == 3


async def test_a_dead_letter_is_tried_again_from_the_log_or_given_up(log: EventLog) -> None:
    dead, desk = DeadLetters(log), Desk()
    for number in (1, 2):
        sent = NewEvent("order.placed", {"number": number}, event_id=id_of(number))
        await log.append_to(StreamId("acme", f"order-{number}"), [sent])
        await dead.record("shipping", message(number), reason="x", attempts=3)

    async def fail(_: Message) -> None:
        raise RuntimeError("still not")

    with pytest.raises(RuntimeError):
        await dead.retry("acme", "shipping", id_of(1), fail)
    assert len(await dead.list("acme", "shipping")) == 2
    with pytest.raises(NotFound):
        await dead.retry("other", "shipping", id_of(1), desk.handle)
    await dead.retry("acme", "shipping", id_of(1), desk.handle)
    await dead.purge("acme", "shipping", id_of(2))
    assert desk.got == [1]
    assert await dead.list("acme", "shipping") == []
    with pytest.raises(NotFound):
        await dead.purge("acme", "shipping", id_of(2))


async def test_a_message_that_cannot_be_read_becomes_a_dead_letter_without_its_words(bus: Bus, log: EventLog) -> None:
    desk = Desk()
    made: Any = "made up"
    async with subscribed(bus, log, desk):
        await bus.publish("events", replace(message(1), version=made))
        (letter,) = await dead_letters(log, 1)
    assert letter.event_id == ""
    assert "cannot be read" in letter.reason
    assert "made" not in letter.reason
    assert desk.got == []
    dead = DeadLetters(log)
    with pytest.raises(NotFound, match="no event to try"):
        await dead.retry("acme", "shipping", letter.id, desk.handle)
    await dead.purge("acme", "shipping", letter.id)
    assert await dead.list("acme", "shipping") == []


async def test_a_place_that_is_away_is_waited_for_and_no_event_is_blamed(log: EventLog) -> None:
    async def away(message: Message, time: int) -> None:
        if time < 8:
            raise Unavailable("The warehouse is closed.")

    bus, desk = InProcessBus(), Desk(away)
    async with subscribed(bus, log, desk, max_in_flight=1):
        await bus.publish("events", message(1))
        await bus.publish("events", message(2))
        await desk.until(lambda: desk.got.count(2) == 8)
    assert desk.got == [1] * 8 + [2] * 8
    assert (await log.head()).position == 0


async def test_a_handler_that_hangs_is_cut_off(log: EventLog) -> None:
    async def hang(_: Message, __: int) -> None:
        await anyio.sleep_forever()

    bus, desk = InProcessBus(), Desk(hang)
    async with subscribed(bus, log, desk, handle_seconds=0.05, attempts=2):
        await bus.publish("events", message(1))
        (letter,) = await dead_letters(log, 1)
    assert letter.reason == "TimeoutError: took longer than 0.05 seconds"
    assert desk.got == [1, 1]


async def test_no_more_are_in_hand_than_allowed(bus: Bus, log: EventLog) -> None:
    in_hand, most = 0, 0
    go_on = anyio.Event()

    async def hold(_: Message, __: int) -> None:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        await go_on.wait()
        in_hand -= 1

    desk = Desk(hold)
    async with subscribed(bus, log, desk, max_in_flight=3, ack_seconds=10.0):
        for number in range(1, 9):
            await bus.publish("events", message(number))
        await desk.until(lambda: len(desk.got) == 3)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        await desk.until(lambda: len(desk.got) == 8)
    assert most == 3


async def test_who_fails_at_dead_letters_is_not_fed_with_their_failures(log: EventLog) -> None:
    async def fail(_: Message, __: int) -> None:
        raise RuntimeError("never")

    bus, desk = InProcessBus(), Desk(fail)
    async with subscribed(bus, log, desk, attempts=2, interest=Interest(types=("bus.*", "order.*"))) as subscriber:
        await bus.publish("events", message(1, type=DEAD_LETTERED))
        await bus.publish("events", message(2))
        await dead_letters(log, 1)
        await desk.until(lambda: desk.got.count(1) == 2)
        assert "0 in hand" in repr(subscriber) or "in hand" in repr(subscriber)
    assert (await log.head()).position == 1


@pytest.mark.parametrize("options", [{"name": "Shipping"}, {"name": ""}, {"name": "a.b"}, {"name": "a", "attempts": 0}])
def test_subscriptions_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Subscription(**options)


async def test_a_message_whose_handlers_die_is_given_up_without_killing_another(bus: Bus, log: EventLog) -> None:
    dying, desk = subscription(attempts=2, ack_seconds=0.3), Desk()
    letter: Any = None
    async with bus.listen(dying), anyio.create_task_group() as tasks:
        await bus.publish("events", message(1))
        with anyio.fail_after(20):
            for _ in range(2):
                async with bus.listen(dying) as receiver:
                    await receiver.receive()
        tasks.start_soon(Subscriber(bus, log, dying, desk.handle, away=SOON).run)
        (letter,) = await dead_letters(log, 1)
        tasks.cancel_scope.cancel()
    assert "nobody who took it came to an end" in letter.reason
    assert desk.got == []
