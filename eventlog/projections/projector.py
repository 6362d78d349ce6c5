"""The public face: runs projections in the background and answers for them."""

import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from eventlog.log import EventLog
from eventlog.projections.decide import Build, Policy
from eventlog.projections.documents import Documents
from eventlog.projections.fold import reason_of
from eventlog.projections.letters import letters, purge, retry
from eventlog.projections.projection import Projection
from eventlog.projections.standing import first_unseen, samples_of, status_of
from eventlog.projections.status import DeadLetter, Purged, Retried, Status
from eventlog.projections.tables import load_shelf, register, renew, set_paused
from eventlog.projections.work import Means
from eventlog.projections.worker import Turn, Worker, build
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput, Conflict, NotFound, StoaError, Unavailable
from stoa.ids import new_id
from stoa.telemetry import Sample

__all__ = ["Projector"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
"""How often somebody who waits looks at what another process does."""
_RELEASE_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class _Post:
    """One projection in this process: who works on it, and whether it should be."""

    worker: Worker
    is_wanted: bool = True
    trouble: str | None = None
    failures: int = 0
    nap: anyio.CancelScope | None = None
    at_rest: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        if self.nap is not None:
            self.nap.cancel()


class Projector:
    """Keeps projections at the end of the log; several processes may do so for the same projections.

    `run` works until it is cancelled; everything else also answers in a process that does not run them. All of them
    raise `NotFound` for a projection that this process does not know, and `Unavailable` when the database is away.
    """

    documents: Documents

    def __init__(
        self,
        log: EventLog,
        projections: Iterable[Projection],
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        owner: str | None = None,
        policy: Policy | None = None,
    ) -> None:
        clock = clock or SystemClock()
        rng = rng or random.Random()  # noqa: S311 - spreads retries
        self._means = Means(log, owner or new_id(), clock, rng, policy or Policy())
        self._posts: dict[str, _Post] = {}
        for projection in projections:
            if projection.name in self._posts:
                raise BadInput(f"There are two projections {projection.name!r}.", hint="Give one another name.")
            self._posts[projection.name] = _Post(Worker(self._means, projection))
        self._is_running = False
        self._moved = anyio.Event()
        self.documents = Documents(log.database)

    def __repr__(self) -> str:
        at = f"running as {self._means.owner!r}" if self._is_running else "not running"
        return f"<Projector of {', '.join(self._posts) or 'nothing'}, {at}>"

    def names(self) -> Sequence[str]:
        return tuple(self._posts)

    def get(self, name: str) -> Projection:
        return self._post(name).worker.projection

    async def run(self) -> None:
        """Work on all of them until cancelled; then the leases are given back."""
        assert not self._is_running, "it runs already"
        self._is_running = True
        try:
            async with anyio.create_task_group() as tasks:
                for post in self._posts.values():
                    tasks.start_soon(self._keep, post)
                tasks.start_soon(self._beat)
        finally:
            self._is_running = False
            with anyio.CancelScope(shield=True), anyio.move_on_after(_RELEASE_SECONDS):
                for post in self._posts.values():
                    await self._release(post)

    async def start(self, name: str) -> None:
        """Let this process work on it (again)."""
        post = self._post(name)
        post.is_wanted = True
        post.at_rest = anyio.Event()
        post.wake()

    async def stop(self, name: str) -> None:
        """This process no longer works on it, another may. Until `start`. Returns when what was begun is done."""
        post = self._post(name)
        post.is_wanted = False
        post.wake()
        if self._is_running:
            await post.at_rest.wait()

    async def pause(self, name: str) -> None:
        """No process works on it, also after a restart, until `resume`. A page that is under work is finished; the
        documents go on being served; a person may still retry dead letters."""
        await self._set_paused(name, True)

    async def resume(self, name: str) -> None:
        await self._set_paused(name, False)

    async def rebuild(self, name: str, *, reason: str = "asked for") -> None:
        """Begin a new generation beside the one that serves, and return at once. Does nothing while one is being built.

        Raises `Conflict` when a newer version serves than this process has."""
        post = self._post(name)
        projection = post.worker.projection
        while True:
            shelf = await load_shelf(self._means.database, name)
            if shelf is None or shelf.serving is None or shelf.building is not None:
                return
            if shelf.serving.version > projection.version:
                raise Conflict(
                    f"Version {shelf.serving.version} of projection {name!r} serves; this process has version"
                    f" {projection.version}.",
                    hint="Install the newer one here too.",
                )
            try:
                await build(self._means, projection, shelf, Build(reason[:500]), await self._means.log.head())
            except Conflict:
                await anyio.lowlevel.checkpoint()
                continue  # whoever works on it went on in between
            post.wake()
            return

    async def status(self, name: str) -> Status:
        post = self._post(name)
        head = await self._means.log.head()
        return await status_of(self._means, post.worker.projection, head, trouble=post.trouble)

    async def all_status(self) -> Sequence[Status]:
        return [await self.status(name) for name in self._posts]

    async def wait_for(self, name: str, position: int, *, seconds: float = 10.0) -> None:
        """Until the generation that serves has seen `position`; raises `Unavailable` after so many seconds."""
        projection = self.get(name)
        with anyio.move_on_after(seconds):
            while True:
                moved = self._moved
                shelf = await load_shelf(self._means.database, name)
                serving = None if shelf is None else shelf.serving
                if serving is not None:
                    if serving.position >= position:
                        return
                    unseen = await first_unseen(self._means, projection, serving.position)
                    if unseen is None or unseen[0] > position:
                        return
                with anyio.move_on_after(_LOOK_SECONDS):
                    await moved.wait()
        hint = "Ask for its status: it may be paused, stopped, or behind."
        raise Unavailable(f"Projection {name!r} has not seen position {position} in {seconds:g} s.", hint=hint)

    async def dead_letters(
        self,
        name: str | None = None,
        *,
        tenant: str | None = None,
        after: str = "",
        limit: int = 100,
        with_retrying: bool = False,
    ) -> Sequence[DeadLetter]:
        """Events that wait for a person (`with_retrying`: also those that are tried again by themselves), of all
        projections without a name, of all tenants when `tenant` is None; `after` is the id of the last one seen."""
        wanted = [self.get(name)] if name is not None else [self.get(one) for one in self._posts]
        return await letters(self._means, wanted, tenant=tenant, after=after, limit=limit, with_retrying=with_retrying)

    async def retry_dead_letter(self, name: str, id: str, *, tenant: str | None = None) -> Retried:
        """Apply the failed event and those that wait behind it, in order, here and now."""
        post = self._post(name)
        outcome = await retry(self._means, post.worker.projection, id, tenant=tenant)
        self._has_moved(post)
        return outcome

    async def purge_dead_letters(
        self, name: str, ids: Sequence[str] | None = None, *, tenant: str | None = None
    ) -> Sequence[Purged]:
        """Give up the failed events (without `ids`: all that wait for a person, a page of them); their streams go on
        with the event after. What was given up is answered: the documents lack it until the projection is built anew
        (and a sink that keeps its own position may meet it once more after a restart)."""
        post = self._post(name)
        if ids is None:
            ids = [letter.id for letter in await self.dead_letters(name, tenant=tenant)]
        purged = [await purge(self._means, post.worker.projection, id, tenant=tenant) for id in ids]
        self._has_moved(post)
        return purged

    async def samples(self) -> Sequence[Sample]:
        """For metrics: position, lag, failures, parked streams of each projection."""
        return samples_of(await self.all_status())

    def _post(self, name: str) -> _Post:
        post = self._posts.get(name)
        if post is None:
            raise NotFound(f"There is no projection {name[:120]!r}.", hint=f"There are: {', '.join(self._posts)}.")
        return post

    async def _set_paused(self, name: str, is_paused: bool) -> None:
        post, now_us = self._post(name), self._means.now_us()
        kind = post.worker.kind
        await self._means.database.write(register(name, kind, now_us), set_paused(name, is_paused, now_us))
        post.wake()

    async def _keep(self, post: _Post) -> None:
        """The task that owns one projection: whatever goes wrong with it, the others go on."""
        while True:
            if not post.is_wanted:
                await self._release(post)
                post.at_rest.set()
                await self._nap(post, None)
                continue
            try:
                turn = await post.worker.turn()
                post.trouble, post.failures = None, 0
                self._has_moved()
                if turn.is_over:
                    await self._nap(post, turn)
                else:
                    await anyio.lowlevel.checkpoint()
            except Exception as error:  # noqa: BLE001 - the owner of this work: it is told, and tried again
                post.failures += 1
                post.trouble = reason_of(error)
                delay = self._means.policy.backoff.delay(post.failures, self._means.rng)
                name = post.worker.projection.name
                if isinstance(error, StoaError):
                    _log.warning("Projection %s waits %.1f s: %s", name, delay, post.trouble)
                else:
                    _log.exception("Projection %s waits %.1f s", name, delay)
                await self._nap(post, Turn("waiting", True, wait_seconds=delay))

    async def _nap(self, post: _Post, turn: Turn | None) -> None:
        """Until the log has grown, the time is over, or `wake`."""
        with anyio.CancelScope() as post.nap:
            if turn is None:
                await anyio.sleep_forever()
            else:
                with anyio.move_on_after(turn.wait_seconds):
                    if turn.state in ("live", "rebuilding"):
                        await self._means.log.grown(turn.position)
                    else:
                        await anyio.sleep_forever()
        post.nap = None

    async def _beat(self) -> None:
        """Keep the leases while there is nothing to write, or while an effect takes long."""
        while True:
            await anyio.sleep(self._means.policy.lease_seconds / 3)
            held = [pk for post in self._posts.values() for pk in post.worker.held]
            if not held:
                continue
            try:
                await self._means.database.write(renew(held, *self._means.lease()))
            except StoaError as error:
                _log.warning("The leases of projections were not renewed: %s", reason_of(error))

    async def _release(self, post: _Post) -> None:
        try:
            await post.worker.release()
        except StoaError as error:  # they end by themselves
            _log.warning("Projection %s: its lease was not given back: %s", post.worker.projection.name, error)

    def _has_moved(self, post: _Post | None = None) -> None:
        self._moved.set()
        self._moved = anyio.Event()
        if post is not None:
            post.wake()
