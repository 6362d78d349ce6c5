"""The public face: runs projections in the background and answers for them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from eventlog.projections.documents import Documents
from eventlog.projections.projection import Projection
from eventlog.projections.status import DeadLetter, Purged, Retried, Status
from stoa.clock import Clock, SystemClock
from stoa.telemetry import Sample

if TYPE_CHECKING:
    from eventlog.log import EventLog

__all__ = ["Projector"]


class Projector:
    """Keeps projections at the end of the log; several processes may do so for the same projections.

    `run` works until it is cancelled; everything else also answers in a process that does not run them.
    """

    documents: Documents

    def __init__(
        self,
        log: "EventLog",
        projections: Iterable[Projection],
        *,
        clock: Clock | None = None,
        owner: str | None = None,
    ) -> None:
        self._log = log
        self._clock = clock or SystemClock()
        self.documents = Documents(log.database)

    def names(self) -> Sequence[str]:
        raise NotImplementedError

    def get(self, name: str) -> Projection:
        """Raises `NotFound` for a projection that this process does not know."""
        raise NotImplementedError

    async def run(self) -> None:
        """Work on all of them until cancelled; then the leases are given back."""
        raise NotImplementedError

    async def start(self, name: str) -> None:
        """Let this process work on it (again)."""
        raise NotImplementedError

    async def stop(self, name: str) -> None:
        """This process no longer works on it, another may. Until `start`."""
        raise NotImplementedError

    async def pause(self, name: str) -> None:
        """No process works on it, also after a restart. Until `resume`. The documents go on being served."""
        raise NotImplementedError

    async def resume(self, name: str) -> None:
        raise NotImplementedError

    async def rebuild(self, name: str, *, reason: str = "asked for") -> None:
        """Begin a new generation beside the one that serves; returns at once. Nothing happens when one is being built."""
        raise NotImplementedError

    async def status(self, name: str) -> Status:
        raise NotImplementedError

    async def all_status(self) -> Sequence[Status]:
        raise NotImplementedError

    async def wait_for(self, name: str, position: int, *, timeout: float = 10.0) -> None:
        """Until the generation that serves has seen `position`; raises `Unavailable` after `timeout` seconds."""
        raise NotImplementedError

    async def dead_letters(
        self, name: str | None = None, *, tenant: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Streams that are parked, and why; of all tenants when `tenant` is None."""
        raise NotImplementedError

    async def retry_dead_letter(self, name: str, id: str, *, tenant: str | None = None) -> Retried:
        """Apply the failed event and those that wait behind it, in order, here and now."""
        raise NotImplementedError

    async def purge_dead_letters(
        self, name: str, ids: Sequence[str] | None = None, *, tenant: str | None = None
    ) -> Sequence[Purged]:
        """Give up the failed events (all of them without `ids`); their streams go on with the event after."""
        raise NotImplementedError

    async def samples(self) -> Sequence[Sample]:
        """For metrics: position, lag, failures, parked streams of each projection."""
        raise NotImplementedError
