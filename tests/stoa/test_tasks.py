"""What a block beside tasks raises, and what becomes of the tasks."""

import anyio
import pytest

from stoa.tasks import beside


async def test_the_error_of_the_block_leaves_as_it_is_once_the_tasks_have_ended() -> None:
    ended: list[str] = []
    enough = anyio.Event()

    async def work() -> None:
        await enough.wait()
        ended.append("work")

    async def fail() -> None:
        async with beside() as tasks:
            tasks.start_soon(work)
            try:
                raise ZeroDivisionError
            finally:
                enough.set()

    with anyio.fail_after(5), pytest.raises(ZeroDivisionError):
        await fail()
    assert ended == ["work"]


async def test_the_error_of_a_task_ends_the_block() -> None:
    async def break_down() -> None:
        raise ZeroDivisionError

    async def wait() -> None:
        async with beside() as tasks:
            tasks.start_soon(break_down)
            await anyio.sleep_forever()

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await wait()
    assert caught.group_contains(ZeroDivisionError)
