"""Callers who never stop: they call again as soon as they have an answer, while something goes wrong around them."""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from pydantic import JsonValue

from pool.pool import Pool
from pool.status import GroupStats
from stoa.errors import StoaError
from stoa.principal import LOCAL
from stoa.tools import ToolCall, ToolRef
from tests.pool.stage import until

__all__ = ["Load", "all_healthy", "all_in_use", "calling", "settled", "stats"]


@dataclass
class Load:
    """What the callers have seen so far: answers by replica, and errors."""

    answered: Counter[str] = field(default_factory=Counter[str])
    errors: list[StoaError] = field(default_factory=list[StoaError])

    @property
    def answers(self) -> int:
        return self.answered.total()

    async def more(self, answers: int, *, by: str | None = None) -> None:
        """Wait for so many further answers (of that replica)."""
        wanted = self._count(by) + answers
        await until(lambda: self._count(by) >= wanted, within_seconds=30)

    def _count(self, by: str | None) -> int:
        return self.answers if by is None else self.answered[by]


@asynccontextmanager
async def calling(
    pool: Pool, ref: str, arguments: Mapping[str, JsonValue] | None = None, *, callers: int = 6
) -> AsyncGenerator[Load]:
    """So many callers until the block is left; calls that are running then are waited for."""
    load, is_over = Load(), anyio.Event()
    server, _, tool = ref.partition(".")

    async def caller() -> None:
        while not is_over.is_set():
            try:
                served = await pool.call(ToolCall(ToolRef(server, tool), arguments or {}), principal=LOCAL)
                load.answered[served.replica] += 1
            except StoaError as error:
                load.errors.append(error)
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
        try:
            yield load
        finally:
            is_over.set()


def stats(pool: Pool, server: str = "one") -> GroupStats:
    found = pool.stats().group(server)
    assert found is not None
    return found


async def all_healthy(pool: Pool) -> None:
    """Every replica is up and well again, by itself."""
    await until(lambda: all(replica.state == "healthy" for replica in stats(pool).replicas), within_seconds=20)


async def all_in_use(pool: Pool) -> None:
    """Every replica is up again, by itself; what it did in the last minute may still be held against it."""
    used = ("healthy", "degraded")
    await until(lambda: all(replica.state in used for replica in stats(pool).replicas), within_seconds=20)


def settled(pool: Pool) -> bool:
    """No slot is taken and nobody waits."""
    found = stats(pool)
    return found.in_flight == found.waiting == 0 and all(replica.in_flight == 0 for replica in found.replicas)
