"""The servers of a pool by name, how all of them are asked, and how another configuration changes them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from pool.nearby import did_you_mean
from pool.seats import Changes, compare
from pool.spec import GroupSpec, HttpSpec, SseSpec
from pool.upstream import Upstream
from pool.workshop import Workshop
from stoa.errors import BadInput, NotFound, StoaError

__all__ = ["Roster", "by_name", "connections", "each"]

T = TypeVar("T")


class Roster:
    """`upstreams` are those of the present configuration; those that are being drained are in `every`, too."""

    def __init__(self, specs: Mapping[str, GroupSpec], workshop: Workshop) -> None:
        self.upstreams = {name: Upstream(spec, workshop) for name, spec in specs.items()}
        self._workshop = workshop
        self._leaving: set[Upstream] = set()
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Roster {', '.join(self.upstreams)}>"

    @property
    def every(self) -> tuple[Upstream, ...]:
        return (*self.upstreams.values(), *self._leaving)

    def start(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        for upstream in self.upstreams.values():
            upstream.start(tasks)

    def find(self, server: str) -> Upstream:
        upstream = self.upstreams.get(server)
        if upstream is None:
            raise NotFound(f"There is no server {server!r}.", hint=did_you_mean(server, self.upstreams))
        return upstream

    def change(self, groups: Iterable[GroupSpec]) -> Changes:
        """Have these from now on. Raises `BadInput`, and then nothing is changed."""
        new, old = by_name(groups), self.upstreams
        # Calls on what goes are finished beside those on what comes.
        going = [upstream.group.spec for name, upstream in old.items() if new.get(name) != upstream.group.spec]
        self._workshop.surroundings.http.resize(connections([*new.values(), *going]))
        changes = compare({name: upstream.group.spec for name, upstream in old.items()}, new)
        self.upstreams = {name: self._with(old.get(name), spec) for name, spec in new.items()}
        for name, upstream in old.items():
            if self.upstreams.get(name) is not upstream:
                upstream.successor = self.upstreams.get(name)
                self._dismiss(upstream)
        return changes

    def _with(self, upstream: Upstream | None, spec: GroupSpec) -> Upstream:
        # A key is given to a child when it starts, so trust is not a setting that can change while it runs.
        if upstream is not None and upstream.group.spec.trusted == spec.trusted:
            if upstream.group.spec != spec:
                upstream.group.configure(spec)
            return upstream
        fresh = Upstream(spec, self._workshop)
        if self._tasks is not None:
            fresh.start(self._tasks)
        return fresh

    def _dismiss(self, upstream: Upstream) -> None:
        if self._tasks is None:
            return
        self._leaving.add(upstream)
        upstream.group.retire()

        async def see_off() -> None:
            await upstream.group.wait_closed()
            self._leaving.discard(upstream)

        self._tasks.start_soon(see_off)


async def each(
    upstreams: Mapping[str, Upstream], ask: Callable[[Upstream], Awaitable[T]]
) -> tuple[Mapping[str, T], Mapping[str, StoaError]]:
    """Ask all at the same time; what each answered, and why some did not."""
    found: dict[str, T] = {}
    errors: dict[str, StoaError] = {}

    async def look(name: str, upstream: Upstream) -> None:
        try:
            found[name] = await ask(upstream)
        except StoaError as error:
            errors[name] = error

    async with anyio.create_task_group() as tasks:
        for name, upstream in upstreams.items():
            tasks.start_soon(look, name, upstream)
    return {name: found[name] for name in upstreams if name in found}, errors


def by_name(groups: Iterable[GroupSpec]) -> dict[str, GroupSpec]:
    specs: dict[str, GroupSpec] = {}
    for spec in groups:
        if spec.name in specs:
            raise BadInput(f"Two servers have the name {spec.name!r}.")
        specs[spec.name] = spec
    return specs


def connections(specs: Iterable[GroupSpec]) -> int:
    """Enough that no call waits for a connection: all slots of all HTTP replicas, and one listener each."""
    return 1 + sum(
        spec.replicas * (spec.max_in_flight + 2)
        for spec in specs
        for member in spec.members
        if isinstance(member, HttpSpec | SseSpec)
    )
