"""Telling clients what has changed behind the gateway: many changes within a moment are told as one."""

from collections.abc import Callable
from typing import Final

import anyio

from gateway.offers import Offers
from gateway.servers_resource import SERVERS_URI, ServersResource
from kit.subscriptions import Changed, Subscriptions
from pool.pool import Pool

__all__ = ["News"]

GATHER_SECONDS: Final = 0.05
"""What changes within this time is told together: a server that starts changes several things."""

LISTS: Final[tuple[Changed, ...]] = ("tools", "prompts", "resources")
SERVERS: Final = "servers"
"""The pool's word for a replica that came, went or got ill."""


class News:
    """State: what has changed and has not been told yet."""

    def __init__(
        self,
        pool: Pool,
        offers: Offers,
        about: ServersResource,
        *,
        subscriptions: Callable[[], Subscriptions],
    ) -> None:
        self._pool = pool
        self._offers = offers
        self._about = about
        self._subscriptions = subscriptions
        self._untold: set[str] = set()
        self._changed = anyio.Event()

    def __repr__(self) -> str:
        return f"<News: {', '.join(sorted(self._untold)) or 'none'}>"

    async def run(self) -> None:
        """Tell, until cancelled."""
        stop = self._pool.on_change(self._hear)
        try:
            while True:
                await self._changed.wait()
                await anyio.sleep(GATHER_SECONDS)
                untold, self._untold = self._untold, set()
                self._changed = anyio.Event()
                await self._tell(untold)
        finally:
            stop()

    def lists_changed(self) -> None:
        """What is listed is no longer what it was, whoever has found out."""
        self._hear("", "all")

    def _hear(self, server: str, what: str) -> None:
        if server and what != SERVERS:
            self._offers.changed(server)
        elif self._offers.servers != self._offers.view.servers:  # another configuration
            self._offers.changed(server)
            self._untold.add("all")
        self._untold.add(what)
        self._changed.set()

    async def _tell(self, untold: set[str]) -> None:
        subscriptions = self._subscriptions()
        for what in LISTS:
            if what in untold or "all" in untold:
                await subscriptions.list_changed(what, tenant=None)
        if SERVERS in untold or "all" in untold:
            self._about.notice()
            for tenant in subscriptions.tenants_of(SERVERS_URI):
                await subscriptions.resource_updated(SERVERS_URI, tenant=tenant)
