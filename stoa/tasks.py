"""Tasks beside a block of code."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

__all__ = ["beside"]


@asynccontextmanager
async def beside() -> AsyncGenerator[TaskGroup]:
    """A task group whose block raises its own error as it is; anyio's would wrap it into a group of errors.

    As there, leaving the block waits for the tasks, and an error of the block cancels none of them: who wants them to
    end says so in a `finally`.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the group
            failure = error
    if failure is not None:
        raise failure
