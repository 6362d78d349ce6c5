"""Progress of long jobs, passed on to whoever called."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

from kit.call import Call
from stoa.tasks import beside

__all__ = ["telling"]

TELL_SECONDS: Final = 0.25


@asynccontextmanager
async def telling(call: Call, what: str, *, as_share: bool = False) -> AsyncGenerator[Callable[[int, int], object]]:
    """What the job calls as often as it likes, with what is done and what there is to do; the caller hears of it a few
    times a second, `as_share` in hundredths: positions are not for everybody. A caller who goes away cancels the
    block."""
    done, total, told = 0, 0, 0

    def remember(now: int, of: int) -> None:
        nonlocal done, total
        if as_share:
            now, of = (100 * now // of if of else 100), 100
        done, total = max(done, now), of

    async def tell() -> None:
        nonlocal told
        if done > told:
            told = done
            await call.progress(
                done, max(total, done), f"{what}: {done:,}{' %' if as_share else f' of {max(total, done):,}'}"
            )

    async def keep_telling() -> None:
        while True:
            await anyio.sleep(TELL_SECONDS)
            await tell()

    async with beside() as tasks:
        tasks.start_soon(keep_telling)
        try:
            yield remember
            await tell()
        finally:
            tasks.cancel_scope.cancel()
