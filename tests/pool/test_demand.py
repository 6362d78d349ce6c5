"""Replicas start as they are needed: a command that makes one call does not wait for a fleet."""

import anyio
import psutil

from tests.pool.stage import call, open_pool, quick, raw, until


def started() -> int:
    """Direct children of this process: one for each replica, whatever that starts in turn."""
    return len(psutil.Process().children())


async def test_one_call_at_a_time_needs_one_replica() -> None:
    before = started()
    async with open_pool(quick("lazy", raw(), replicas=3)) as pool:
        assert "0/3 ready" in repr(pool)
        await pool.tools()
        for _ in range(3):
            await call(pool, "lazy.echo", {"text": "one"})
        assert "1/3 ready" in repr(pool)
        # The others have not even been started.
        assert started() == before + 1


async def test_calls_at_once_start_more_replicas_and_status_starts_all() -> None:
    async with open_pool(quick("lazy", raw(), replicas=3)) as pool:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(call, pool, "lazy.slow", {"seconds": 50})
            await until(lambda: "2/3 ready" in repr(pool))
            tasks.cancel_scope.cancel()
        assert [line.state for line in await pool.status()] == ["healthy"] * 3
