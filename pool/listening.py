"""Subscriptions that are passed on to a server: held open on one replica, opened again on another after a loss."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from pool.group import Group
from pool.verdict import BUSY
from pool.wire.connection import ACKNOWLEDGED
from pool.wire.failures import Lost, Refusal
from stoa.errors import NotFound, StoaError
from stoa.principal import Principal

__all__ = ["REFUSED", "Heard", "listening"]

Heard = tuple[str, Mapping[str, Any]]
"""A notification: its method and its parameters."""

REFUSED: Final = "stoa/refused"
"""In place of a notification: the server refuses to be listened to for this. `refusal` is what it said."""

MAX_UNHEARD: Final = 1000
"""What a slow listener may leave lying; beyond it, notifications are dropped: each says no more than "look again"."""

LIST_CHANGES: Final = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}


@asynccontextmanager
async def listening(
    find: Callable[[], Group], *, filter: Mapping[str, Any], principal: Principal, hops: int
) -> AsyncGenerator[AsyncIterator[Heard]]:
    """What the filter asks for (`notifications` of `subscriptions/listen`), until the block is left.

    It begins with `ACKNOWLEDGED`, or is nothing but one `REFUSED`. After a loss nobody knows what was missed, so
    everything in the filter is told as changed as soon as another replica has acknowledged it. `find` gives the
    server's group, another one after another configuration; it ends when that raises `NotFound`.
    """
    send, receive = anyio.create_memory_object_stream[Heard](MAX_UNHEARD)
    with send, receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_keep_open, find, dict(filter), principal, hops, send)
            yield receive
            tasks.cancel_scope.cancel()


async def _keep_open(
    find: Callable[[], Group],
    filter: Mapping[str, Any],
    principal: Principal,
    hops: int,
    send: MemoryObjectSendStream[Heard],
) -> None:
    with send, suppress(NotFound):
        await _listen(find, filter, principal, hops, send)


async def _listen(
    find: Callable[[], Group],
    filter: Mapping[str, Any],
    principal: Principal,
    hops: int,
    send: MemoryObjectSendStream[Heard],
) -> None:
    def hear(method: str, params: Mapping[str, Any]) -> None:
        with suppress(anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            send.send_nowait((method, params))

    def hear_again(method: str, params: Mapping[str, Any]) -> None:
        if method != ACKNOWLEDGED:
            hear(method, params)
            return
        for change in _all_of(filter):  # from now on nothing is missed
            hear(*change)

    group = find()
    shop = group.workshop
    failures = 0
    has_listened = False
    while True:
        try:
            replica = await group.any_ready()
            connection = replica.connection
            if connection is None:
                continue
            meta = group.identity.meta(replica.spec, principal, server_name=connection.server_name, hops=hops)
            began = shop.clock.monotonic()
            listener, has_listened = hear_again if has_listened else hear, True
            await connection.listen(filter=filter, meta=meta, on_notice=listener)
            failures = 0 if shop.clock.monotonic() - began > 1.0 else failures + 1
        except Lost:
            failures += 1
        except Refusal as refusal:
            if refusal.status not in BUSY:
                hear(REFUSED, {"refusal": refusal})
                return
            failures += 1
        except StoaError as error:
            failures += 1
            with anyio.move_on_after(error.retry_after or 0.0):
                await group.changed.wait()
        if group.is_closed:
            old, group = group, find()
            if group is old:
                return  # it is the pool that is closed
            continue
        await anyio.sleep(shop.backoff.delay(max(1, failures), shop.rng))


def _all_of(filter: Mapping[str, Any]) -> list[Heard]:
    changes: list[Heard] = [(method, {}) for key, method in LIST_CHANGES.items() if filter.get(key)]
    uris = filter.get("resourceSubscriptions")
    if isinstance(uris, list):
        changes += [("notifications/resources/updated", {"uri": uri}) for uri in cast("list[object]", uris)]
    return changes
