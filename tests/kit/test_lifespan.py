"""What a server opens once per process, held by many connections that come and go in any order."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from mcp.client import Client

from kit.author import Server
from kit.lifespan import SharedContext
from stoa.errors import BadInput
from stoa.settings import Settings


class Log:
    """A context that keeps a task group open and notes what happens to it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.breaks = anyio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[int]:
        self.events.append("open")
        async with anyio.create_task_group() as group:
            group.start_soon(self._work)
            yield len(self.events)
            group.cancel_scope.cancel()
        self.events.append("close")

    async def _work(self) -> None:
        await self.breaks.wait()
        raise BadInput("The work failed.")


async def test_the_first_may_go_first() -> None:
    log = Log()
    shared = SharedContext(log.open)
    first_may_go, second_is_in, second_may_go = anyio.Event(), anyio.Event(), anyio.Event()

    async def first() -> None:
        async with shared.held():
            await first_may_go.wait()

    async def second() -> None:
        async with shared.held() as value:
            assert value == 1
            second_is_in.set()
            await second_may_go.wait()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(first)
            group.start_soon(second)
            await second_is_in.wait()
            assert "held by 2" in repr(shared)
            first_may_go.set()
            await anyio.wait_all_tasks_blocked()
            assert log.events == ["open"]
            second_may_go.set()
    assert log.events == ["open", "close"]


async def test_it_is_opened_again_after_it_was_closed() -> None:
    log = Log()
    shared = SharedContext(log.open)
    with anyio.fail_after(5):
        for _ in range(2):
            async with shared.held(), shared.held():
                pass
    assert log.events == ["open", "close"] * 2


async def test_an_error_of_a_holder_passes_as_it_is_and_closes() -> None:
    log = Log()
    with anyio.fail_after(5), pytest.raises(KeyError):
        async with SharedContext(log.open).held():
            raise KeyError
    assert log.events == ["open", "close"]


async def test_whoever_is_cancelled_still_leaves_it_closed() -> None:
    log = Log()
    shared = SharedContext(log.open)
    with anyio.fail_after(5):
        with anyio.move_on_after(0.05):
            async with shared.held():
                await anyio.sleep_forever()
    assert log.events == ["open", "close"]


async def test_an_error_in_opening_reaches_everybody_who_waits() -> None:
    @asynccontextmanager
    async def refuse() -> AsyncGenerator[None]:
        await anyio.lowlevel.checkpoint()
        raise BadInput("No home.")
        yield

    shared, errors = SharedContext(refuse), list[str]()

    async def hold() -> None:
        try:
            async with shared.held():
                raise AssertionError
        except BadInput as error:
            errors.append(error.message)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(hold)
    assert errors == ["No home."] * 3


async def test_opening_that_hangs_can_be_given_up() -> None:
    closed: list[bool] = []

    @asynccontextmanager
    async def hang() -> AsyncGenerator[None]:
        try:
            await anyio.sleep_forever()
            yield
        finally:
            closed.append(True)

    with anyio.fail_after(5):
        with anyio.move_on_after(0.05):
            async with SharedContext(hang).held():
                raise AssertionError
    assert closed == [True]


async def test_work_that_fails_ends_its_holders_with_its_error() -> None:
    log = Log()
    shared, ended = SharedContext(log.open), list[str]()

    async def hold() -> None:
        try:
            async with shared.held():
                await anyio.sleep_forever()
        except* BadInput as errors:
            ended.extend(str(error) for error in errors.exceptions)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            group.start_soon(hold)
            await anyio.wait_all_tasks_blocked()
            log.breaks.set()
    assert ended == ["The work failed."] * 2
    log.breaks = anyio.Event()
    async with shared.held():
        assert log.events == ["open", "open"]


async def test_a_server_keeps_what_it_opened_while_any_client_is_connected(home: Path) -> None:
    log = Log()

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        async with log.open():
            yield

    server = Server(
        "s", version="1", instructions="", settings=Settings.model_validate({"home": home}), lifespan=lifespan
    )
    with anyio.fail_after(10):
        first, second = Client(server.lowlevel), Client(server.lowlevel)
        async with first, second:
            assert log.events == ["open"]
        assert log.events == ["open", "close"]
        async with Client(server.lowlevel, mode="legacy") as third:
            assert (await third.list_tools()).tools == []
    assert log.events == ["open", "close"] * 2
