"""What every bus does for its subscribers, whatever carries it."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskStatus

from eventlog.bus.bus import Bus, Delivery, Subscription
from eventlog.bus.message import Message, decode
from eventlog.bus.subjects import Interest, subject_of
from tests.eventlog.bus.messages import id_of, message


def subscription(name: str = "shipping", *, interest: Interest | None = None, **options: Any) -> Subscription:
    options.setdefault("ack_seconds", 1.0)
    return Subscription(name=name, interest=interest or Interest(), **options)


def read(delivery: Delivery) -> Message:
    return decode("events", delivery.subject, delivery.body)


async def take(bus: Bus, wanted: Subscription, count: int) -> list[Message]:
    found: list[Message] = []
    with anyio.fail_after(20):
        async with bus.listen(wanted) as receiver:
            while len(found) < count:
                delivery = await receiver.receive()
                found.append(read(delivery))
                await delivery.done()
    return found


async def publish(bus: Bus, messages: Iterable[Message]) -> None:
    with anyio.fail_after(20):
        for each in messages:
            await bus.publish("events", each)


@asynccontextmanager
async def groups(bus: Bus, *wanted: Subscription) -> AsyncGenerator[None]:
    """The groups are there before anything is published: in process, only what comes later reaches them."""
    async with anyio.create_task_group() as tasks:

        async def stay(each: Subscription, *, task_status: TaskStatus[None]) -> None:
            async with bus.listen(each):
                task_status.started()
                await anyio.sleep_forever()

        for each in wanted:
            with anyio.fail_after(10):
                await tasks.start(stay, each)
        yield
        tasks.cancel_scope.cancel()


async def test_a_message_arrives_as_it_was_sent_and_in_order(bus: Bus) -> None:
    sent = [message(number, text="ö" * number) for number in range(1, 20)]
    async with groups(bus, subscription()):
        await publish(bus, sent)
        assert await take(bus, subscription(), 19) == sent


async def test_every_group_gets_each_message_and_each_member_its_own(bus: Bus) -> None:
    one, other = subscription("one"), subscription("other")
    async with groups(bus, one, other):
        await publish(bus, (message(number) for number in range(1, 7)))
        with anyio.fail_after(10):
            async with bus.listen(one) as first, bus.listen(one) as second:
                got = [await receiver.receive() for receiver in (first, second, first, second, first, second)]
                assert sorted(read(each).position for each in got) == [1, 2, 3, 4, 5, 6]
                for each in got:
                    await each.done()
        assert len(await take(bus, other, 6)) == 6


async def test_the_same_event_published_again_is_delivered_once(bus: Bus) -> None:
    async with groups(bus, subscription()):
        await publish(bus, [message(1), message(1), message(2), message(1)])
        assert [each.position for each in await take(bus, subscription(), 2)] == [1, 2]
        await publish(bus, [message(2), message(3)])
        assert [each.position for each in await take(bus, subscription(), 1)] == [3]


async def test_only_what_is_wanted_arrives(bus: Bus) -> None:
    wanted = subscription(interest=Interest(tenant="acme", types=("order.*", "order.placed", "invoice.sent")))
    async with groups(bus, wanted):
        await publish(
            bus,
            [
                message(1, type="invoice.paid"),
                message(2, tenant="acme.order", type="order.placed"),
                message(3, tenant="*", type="order.placed"),
                message(4, type="order.line.added"),
                message(5, type="invoice.sent"),
                message(6, type="order.placed"),
                message(7, tenant="Acme", type="order.placed"),
                message(8, type="orders.placed"),
                message(9, type="order.shipped"),
            ],
        )
        assert [each.position for each in await take(bus, wanted, 4)] == [4, 5, 6, 9]


async def test_what_is_given_back_comes_again_after_a_while_and_is_counted(bus: Bus) -> None:
    wanted = subscription()
    async with groups(bus, wanted):
        await publish(bus, [message(1), message(2)])
        with anyio.fail_after(20):
            async with bus.listen(wanted) as receiver:
                first = await receiver.receive()
                assert (read(first).position, first.attempt) == (1, 1)
                before = anyio.current_time()
                await first.again(0.4)
                second = await receiver.receive()
                assert (read(second).position, second.attempt) == (2, 1)
                await second.done()
                again = await receiver.receive()
                assert anyio.current_time() - before > 0.3
                assert (read(again).position, again.attempt) == (1, 2)
                await again.done()


async def test_what_a_lost_member_held_goes_to_another(bus: Bus) -> None:
    wanted = subscription(ack_seconds=0.5)
    async with groups(bus, wanted):
        await publish(bus, [message(1)])
        with anyio.fail_after(20):
            async with bus.listen(wanted) as receiver:
                await receiver.receive()
            async with bus.listen(wanted) as receiver:
                again = await receiver.receive()
                assert (read(again).event_id, again.attempt) == (id_of(1), 2)
                await again.done()


async def test_what_is_being_worked_on_stays_with_its_member(bus: Bus) -> None:
    wanted = subscription(ack_seconds=0.5)
    async with groups(bus, wanted):
        await publish(bus, [message(1)])
        with anyio.fail_after(20):
            async with bus.listen(wanted) as receiver, bus.listen(wanted) as other:
                delivery = await receiver.receive()
                with anyio.move_on_after(1.5) as waited:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(other.receive)
                        while True:
                            await anyio.sleep(0.1)
                            await delivery.working()
                assert waited.cancelled_caught
                await delivery.done()
                await publish(bus, [message(2)])
                assert read(await other.receive()).position == 2


async def test_a_group_that_comes_late_gets_what_is_kept(bus: Bus) -> None:
    await publish(bus, [message(1), message(2)])
    if bus.is_shared:
        assert [each.position for each in await take(bus, subscription(), 2)] == [1, 2]
    else:
        async with groups(bus, subscription()):
            await publish(bus, [message(3)])
            assert [each.position for each in await take(bus, subscription(), 1)] == [3]


async def test_channels_do_not_meet(bus: Bus) -> None:
    wanted = subscription(interest=Interest(channel="audit"))
    async with groups(bus, wanted):
        await publish(bus, [message(1)])
        await bus.publish("audit", message(2))
        await bus.publish("audit", message(1))  # not a repeat: it was published elsewhere
        with anyio.fail_after(10):
            async with bus.listen(wanted) as receiver:
                subjects: list[str] = []
                for _ in range(2):
                    delivery = await receiver.receive()
                    subjects.append(delivery.subject)
                    await delivery.done()
    assert subjects == [subject_of("audit", "acme", "order.placed")] * 2
