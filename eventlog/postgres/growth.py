"""How far the log reaches, as far as this process has heard: from its own commits, from others' by NOTIFY, and, for
what a broken connection may have swallowed, by a look every second while somebody waits.

A notification is only a wake-up: whoever is woken reads the log.
"""

import logging
import random
from typing import Final, final

import anyio

from eventlog.postgres.address import Address
from eventlog.postgres.wire import Session, connect
from stoa.errors import StoaError
from stoa.resilience.backoff import Backoff

__all__ = ["CHANNEL", "Growth", "listen"]

CHANNEL: Final = "stoa_log"
LOOK_SECONDS: Final = 1.0

_BACKOFF: Final = Backoff(first_seconds=0.1, most_seconds=5.0)
_log: Final = logging.getLogger(__name__)


@final
class Growth:
    def __init__(self) -> None:
        self.position = 0
        self._heard = 0  # since the last look
        self._waiting = 0
        self._grown = anyio.Event()
        self._wanted = anyio.Event()

    def __repr__(self) -> str:
        return f"<Growth to {self.position}, {self._waiting} waiting>"

    def reached(self, position: int) -> None:
        """Somebody has committed up to here."""
        self._heard = max(self._heard, position)
        if position > self.position:
            self._set(position)

    def about_to_look(self) -> None:
        self._heard = 0

    def looked(self, position: int) -> None:
        """The log said so itself. It can be less than before, when the log was restored from an older copy."""
        position = max(position, self._heard)
        if position != self.position:
            self._set(position)

    async def beyond(self, position: int) -> None:
        self._waiting += 1
        self._wanted.set()
        try:
            while self.position <= position:
                await self._grown.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._wanted = anyio.Event()

    async def wanted(self) -> None:
        """Until somebody waits."""
        await self._wanted.wait()

    def _set(self, position: int) -> None:
        self.position = position
        self._grown.set()
        self._grown = anyio.Event()


async def listen(growth: Growth, address: Address, *, rng: random.Random) -> None:
    """Keep `growth` up to date for as long as it runs, with one session that is opened when first somebody waits."""

    def heard(payload: str) -> None:
        if payload.isdecimal():
            growth.reached(int(payload[:18]))

    failures = 0
    while True:
        await growth.wanted()
        session: Session | None = None
        try:
            session = await connect(address)
            await session.listen(CHANNEL, heard)
            while True:
                growth.about_to_look()
                ((position,),) = await session.fetch("SELECT position FROM log WHERE id = 1")
                growth.looked(int(str(position)))
                failures = 0
                await anyio.sleep(LOOK_SECONDS)
                await growth.wanted()
        except StoaError as error:
            failures += 1
            if failures == 1:
                _log.warning("Cannot listen for new events, and tries again: %s", error.message)
            await anyio.sleep(_BACKOFF.delay(failures, rng))
        finally:
            if session is not None:
                session.terminate()
