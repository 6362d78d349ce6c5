"""What the servers offer, as far as it is known: asked for where it is not, for so long as a listing may take.

A server that goes away leaves what it offered last. One that does not answer in time is left out of this listing and
no longer waited for in the next ones; clients are told as soon as it answers.
"""

import logging
from collections.abc import Callable, Iterable

import anyio
from anyio.abc import TaskGroup

from gateway.circle import GATEWAY_NAME
from gateway.options import Options
from gateway.view import View
from pool.offer import Offer
from pool.pool import Pool
from stoa.errors import StoaError

__all__ = ["Offers"]

log = logging.getLogger(__name__)


class Offers:
    """State: the last known offer of each server, the view of them, who is being asked, who was late.

    `on_late` is called when somebody answers after a listing that did not wait for it any longer.
    """

    def __init__(
        self,
        pool: Pool,
        options: Options,
        *,
        tasks: Callable[[], TaskGroup],
        on_late: Callable[[], None],
        listing_seconds: float,
        me: str = "",
    ) -> None:
        self._pool = pool
        self._options = options
        self._tasks = tasks
        self._on_late = on_late
        self._listing_seconds = listing_seconds
        self._me = me
        self._offers: dict[str, Offer] = {}
        self._asking: dict[str, anyio.Event] = {}
        self._late: set[str] = set()
        self._doubtful: set[str] = set()
        self._is_old = True
        self._view = View()
        self._told: set[str] = set()

    def __repr__(self) -> str:
        asking = f", asking {', '.join(self._asking)}" if self._asking else ""
        return f"<Offers {self.view!r}{asking}>"

    @property
    def servers(self) -> tuple[str, ...]:
        return self._options.chosen(self._pool.servers)

    @property
    def view(self) -> View:
        """What is known right now."""
        if self._is_old:
            self._renew()
        return self._view

    def is_gateway(self, server: str) -> bool:
        """Whether another gateway is known to stand there."""
        offer = self._offers.get(server)
        return offer is not None and offer.server_name == GATEWAY_NAME

    def changed(self, server: str) -> None:
        """Something of this server is not as it was; it is asked again when somebody wants to know."""
        self._doubtful.add(server)
        self._is_old = True

    async def fresh(self, server: str | None = None) -> View:
        """The view after asking whoever has to be asked, or this one server alone."""
        wanted = self.servers if server is None else (server,)
        self._look()
        unsure = [name for name in wanted if name not in self._offers or name in self._doubtful]
        asked = {name: self._ask(name) for name in unsure}
        patience = [event for name, event in asked.items() if server is not None or name not in self._late]
        if patience:
            with anyio.move_on_after(self._listing_seconds) as scope:
                for event in patience:
                    await event.wait()
            if scope.cancelled_caught:
                self._late.update(self._asking)
        return self.view

    def _ask(self, server: str) -> anyio.Event:
        """Have the server asked, by one task at a time; the event is set when that has ended."""
        asked = self._asking.get(server)
        if asked is None:
            asked = self._asking[server] = anyio.Event()
            self._tasks().start_soon(self._ask_now, server, asked)
        return asked

    async def _ask_now(self, server: str, asked: anyio.Event) -> None:
        self._doubtful.discard(server)
        try:
            self._keep(server, await self._pool.offer(server))
            if server in self._late:
                self._late.discard(server)
                self._on_late()
        except StoaError as error:
            log.info("%s cannot be listed: %s", server, error)
        finally:
            self._asking.pop(server, None)
            asked.set()

    def _look(self) -> None:
        """Take what the pool knows without asking anybody."""
        for server in self.servers:
            offer = self._pool.peek(server)
            # A stale one says what is known already.
            if offer is not None and not (offer.is_stale and server in self._offers):
                self._keep(server, offer)

    def _keep(self, server: str, offer: Offer) -> None:
        if self._offers.get(server) is not offer:
            self._offers[server] = offer
            self._is_old = True

    def _renew(self) -> None:
        self._is_old = False
        servers = self.servers
        self._forget(set(self._offers).difference(servers))
        self._look()
        self._is_old = False
        self._view = View.of(self._offers, servers=servers, options=self._options, me=self._me)
        for conflict in self._view.conflicts():
            if conflict not in self._told:
                self._told.add(conflict)
                log.warning("%s", conflict)

    def _forget(self, servers: Iterable[str]) -> None:
        for server in servers:
            del self._offers[server]
            self._late.discard(server)
            self._doubtful.discard(server)
