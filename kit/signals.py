"""SIGTERM and SIGINT: the first one asks to stop, a second one stops at once."""

import signal
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio

__all__ = ["stopping"]


@asynccontextmanager
async def stopping(stop: Callable[[], None]) -> AsyncGenerator[None]:
    """Within the block the first signal calls `stop`, the next one cancels the block. Both end it without an error."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread only; whoever runs us elsewhere stops us by cancelling
        return
    async with anyio.create_task_group() as group:

        async def watch(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                task_status.started()
                is_first = True
                async for _ in signals:
                    if not is_first:
                        group.cancel_scope.cancel()
                        return
                    is_first = False
                    stop()

        await group.start(watch)
        yield
        group.cancel_scope.cancel()
