"""From the log to the bus: everything, in order, whatever dies in between."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from eventlog.bus.bus import Bus, Keeping, Subscription
from eventlog.bus.in_process import InProcessBus
from eventlog.bus.message import Message, decode
from eventlog.bus.open import open_bus, open_relays
from eventlog.bus.relay import NAME, relay_in_process, relay_projection
from eventlog.bus.routing import Routing, Rule
from eventlog.event import Append, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.open import open_log
from eventlog.projections.projector import Projector
from stoa.errors import Unavailable
from stoa.settings import Settings
from tests.eventlog.bus.brokers import Broker

ROOT = Path(__file__).parents[3]


def settings(home: Path, broker: Broker | None = None) -> Settings:
    return Settings.model_validate({"home": home, "bus_url": None if broker is None else broker.url})


def shipping() -> Subscription:
    return Subscription(name="shipping", ack_seconds=2.0)


async def append(log: EventLog, first: int, count: int, type: str = "order.placed", tenant: str = "acme") -> None:
    outcomes = await log.append(
        [
            Append(StreamId(tenant, f"order-{number % 7}"), [NewEvent(type, {"number": number})])
            for number in range(first, first + count)
        ]
    )
    assert not [each for each in outcomes if isinstance(each, Exception)]


async def collect(bus: Bus, first: int, last: int) -> list[Message]:
    """The events at these positions, as they come first. A broker that was killed may have forgotten that earlier ones
    were done."""
    found: dict[int, Message] = {}
    with anyio.fail_after(60):
        async with bus.listen(shipping()) as receiver:
            while len(found) <= last - first:
                delivery = await receiver.receive()
                message = decode("events", delivery.subject, delivery.body)
                if message.position >= first:
                    found.setdefault(message.position, message)
                await delivery.done()
    return list(found.values())


@asynccontextmanager
async def relayed(log: EventLog, bus: Bus) -> AsyncGenerator[Projector]:
    projector = Projector(log, [relay_projection(bus)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(projector.run)
        yield projector
        tasks.cancel_scope.cancel()


async def test_in_process_what_comes_is_published_by_its_rules(home: Path) -> None:
    bus = InProcessBus()
    messages: list[Message] = []
    routing = Routing((Rule(types=("order.*",), tenant="acme"),))
    async with open_log(settings(home)) as log, anyio.create_task_group() as tasks:
        await append(log, 0, 5)
        assert await tasks.start(relay_in_process, log, bus, routing) == 5
        async with bus.listen(shipping()):
            await append(log, 5, 2, type="invoice.sent")
            await append(log, 5, 2, tenant="other")
            await append(log, 5, 2)
            messages = await collect(bus, 10, 11)
        tasks.cancel_scope.cancel()
    assert [each.data for each in messages] == [{"number": 5}, {"number": 6}]
    assert [each.position for each in messages] == [10, 11]


async def test_a_relay_publishes_everything_and_goes_on_where_it_stopped_when_the_broker_was_away(
    home: Path, broker: Broker
) -> None:
    async with open_log(settings(home)) as log, open_bus(settings(home, broker)) as bus:
        await append(log, 0, 20)
        async with relayed(log, bus) as projector:
            assert [each.position for each in await collect(bus, 1, 20)] == list(range(1, 21))
            broker.kill()
            await append(log, 20, 30)
            status = await projector.status(NAME)
            assert (status.parked_streams, status.dead_letters) == (0, 0)
            await broker.start()
            assert [each.position for each in await collect(bus, 21, 50)] == list(range(21, 51))
            await projector.wait_for(NAME, 50, seconds=30)
        async with relayed(log, bus) as projector:
            await append(log, 50, 1)
            assert [each.position for each in await collect(bus, 51, 51)] == [51]
            await projector.wait_for(NAME, 51, seconds=30)
            status = await projector.status(NAME)
            assert (status.applied, status.failures, status.parked_streams) == (51, 0, 0)


async def test_whoever_keeps_projections_gets_the_relay_where_there_is_a_broker(home: Path, broker: Broker) -> None:
    async with open_relays(settings(home)) as none, open_relays(settings(home, broker)) as relays:
        assert none == ()
        assert [each.name for each in relays] == [NAME]
        async with open_log(settings(home)) as log, open_bus(settings(home, broker)) as bus:
            projector = Projector(log, relays)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(projector.run)
                await append(log, 0, 3)
                assert len(await collect(bus, 1, 3)) == 3
                tasks.cancel_scope.cancel()


RELAY = """
import sys
from pathlib import Path
import anyio
from eventlog.bus.open import open_bus
from eventlog.bus.relay import relay_projection
from eventlog.open import open_log
from eventlog.projections.decide import Policy
from eventlog.projections.projector import Projector
from stoa.settings import Settings

async def main() -> None:
    settings = Settings(home=Path(sys.argv[1]), bus_url=sys.argv[2])
    async with open_log(settings) as log, open_bus(settings) as bus:
        await Projector(log, [relay_projection(bus)], policy=Policy(lease_seconds=1.0)).run()

anyio.run(main)
"""


async def start_relay(home: Path, broker: Broker) -> "subprocess.Popen[bytes]":
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", RELAY, str(home), broker.url]
    return await anyio.to_thread.run_sync(lambda: subprocess.Popen(command, cwd=ROOT, env=environment))


@pytest.mark.slow
async def test_relay_and_broker_are_killed_again_and_again_and_nothing_is_lost(home: Path, broker: Broker) -> None:
    count = 3_000
    got: list[str] = []
    relays: list[subprocess.Popen[bytes]] = []
    async with open_log(settings(home)) as log, open_bus(settings(home, broker)) as bus:
        more = anyio.Event()

        def wake() -> None:
            nonlocal more
            more.set()
            more = anyio.Event()

        async def read() -> None:
            """With a bus of its own, which loses its broker, too."""
            while len(set(got)) < count:
                try:
                    async with bus.listen(shipping()) as receiver:
                        while len(set(got)) < count:
                            delivery = await receiver.receive()
                            got.append(decode("events", delivery.subject, delivery.body).event_id)
                            wake()
                            await delivery.done()
                except Unavailable:
                    await anyio.sleep(0.05)

        async def progress(to: int) -> None:
            while len(set(got)) < to:
                await more.wait()

        try:
            with anyio.fail_after(110):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(read)
                    for round in range(6):
                        await append(log, round * 500, 500)
                        relays.append(await start_relay(home, broker))
                        await progress(round * 500 + 100)
                        if round % 2:
                            broker.kill()
                            await broker.start()
                        relays[-1].kill()
                    relays.append(await start_relay(home, broker))
        finally:
            for each in relays:
                each.kill()
                each.wait()
        positions = {event.event_id: event.position for event in await log.read_all(limit=10_000)}
    assert set(got) == positions.keys()


async def test_an_id_is_known_again_for_as_long_as_was_asked_for(home: Path, broker: Broker) -> None:
    keeping = Keeping(duplicate_seconds=0.3)
    async with open_bus(settings(home, broker), keeping=keeping) as bus, open_log(settings(home)) as log:
        await append(log, 0, 1)
        (event,) = await log.read_all()
        for _ in range(5):
            await bus.publish("events", Message.of(event))
        with anyio.fail_after(20):
            async with bus.listen(shipping()) as receiver, anyio.create_task_group() as tasks:
                await (await receiver.receive()).done()

                async def publish_on() -> None:
                    while True:
                        await bus.publish("events", Message.of(event))
                        await anyio.sleep(0.01)

                tasks.start_soon(publish_on)
                await (await receiver.receive()).done()
                tasks.cancel_scope.cancel()


async def test_a_broker_that_is_not_there_is_said_without_its_password(home: Path) -> None:
    for url in ("nats://ada:secret@127.0.0.1:1", "redis://ada:secret@127.0.0.1:1/0", "unix:///nowhere?password=secret"):
        async with open_bus(Settings.model_validate({"home": home, "bus_url": url})) as bus:
            assert "secret" not in repr(bus)
            with anyio.fail_after(30), pytest.raises(Exception, match="does not answer") as caught:
                async with bus.listen(shipping()):
                    pass
            assert "secret" not in str(caught.value)
            assert "STOA_BUS_URL" in str(caught.value)


@pytest.mark.parametrize("url", ["kafka://broker", "hidden", "http://user:hidden@x", "redis://host:port/x"])
async def test_an_address_of_another_kind_is_refused_without_being_repeated(home: Path, url: str) -> None:
    wanted = Settings.model_validate({"home": home, "bus_url": url})
    assert "hidden" not in repr(wanted)
    with pytest.raises(Exception, match="STOA_BUS_URL cannot be used") as caught:
        async with open_bus(wanted):
            pass
    assert "hidden" not in str(caught.value)
