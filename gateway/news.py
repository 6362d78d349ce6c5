"""Telling clients what has changed behind the gateway: many changes within a moment are told as one.

What another gateway says is told on only where it changes something here: two in front of each other would otherwise
tell each other the same news for ever.
"""

from collections.abc import Callable
from typing import Final

import anyio

from gateway.offers import Offers
from gateway.servers_resource import SERVERS_URI, ServersResource
from gateway.view import View
from kit.subscriptions import Changed, Subscriptions
from pool.pool import Pool

__all__ = ["News"]

GATHER_SECONDS: Final = 0.05
"""What changes within this time is told together: a server that starts changes several things."""

LISTS: Final[tuple[Changed, ...]] = ("tools", "prompts", "resources")
SERVERS: Final = "servers"
"""The pool's word for a replica that came, went or got ill."""


class News:
    """State: what has changed and has not been told yet, what may have, and how things were when clients were told."""

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
        self._doubted: set[str] = set()
        self._last = offers.view
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
                doubted, self._doubted = self._doubted, set()
                self._changed = anyio.Event()
                if doubted:
                    view = await self._offers.fresh()
                    untold |= doubted & _differences(self._last, view)
                self._last = self._offers.view
                await self._tell(untold)
        finally:
            stop()

    def lists_changed(self) -> None:
        """What is listed may no longer be what it was, whoever has found out."""
        self._doubted.update(LISTS)
        self._changed.set()

    def _hear(self, server: str, what: str) -> None:
        if server and what != SERVERS:
            self._offers.changed(server)
            if self._offers.is_gateway(server):
                self._doubted.update(LISTS if what not in LISTS else (what,))
                self._changed.set()
                return
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


def _differences(before: View, now: View) -> set[str]:
    """Which lists are not what they were."""
    found: set[str] = set()
    if before.tools != now.tools:
        found.add("tools")
    if before.prompts != now.prompts or _each(before, "prompts") != _each(now, "prompts"):
        found.add("prompts")
    if any(_each(before, key) != _each(now, key) for key in ("resources", "templates")):
        found.add("resources")
    return found


def _each(view: View, key: str) -> list[object]:
    return [getattr(view.offers.get(server), key, ()) for server in view.servers]
