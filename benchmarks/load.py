"""Closed loops: so many callers, each sends its next call when the last one is answered."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from benchmarks.clients import Caller
from benchmarks.cpu import cpu_seconds

__all__ = ["Window", "closed_loop", "percentile"]


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in a stretch of time. Latencies are in seconds, sorted; CPU times cover all the calls."""

    latencies: tuple[float, ...]
    seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float

    @property
    def calls(self) -> int:
        return len(self.latencies)

    @property
    def calls_per_second(self) -> float:
        return self.calls / self.seconds

    @property
    def client_cpu_us(self) -> float:
        return self.client_cpu_seconds / self.calls * 1e6

    @property
    def server_cpu_us(self) -> float:
        return self.server_cpu_seconds / self.calls * 1e6


async def closed_loop(call: Caller, *, callers: int, seconds: float, server_pid: int) -> Window:
    """Call for that long, at least once each. The first call that fails ends it all."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        begun = time.perf_counter()
        while True:
            await call()
            now = time.perf_counter()
            latencies.append(now - begun)
            if now >= end:
                return
            begun = now

    server, client, begun = cpu_seconds(server_pid), time.process_time(), time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    return Window(
        latencies=tuple(sorted(latencies)),
        seconds=time.perf_counter() - begun,
        client_cpu_seconds=time.process_time() - client,
        server_cpu_seconds=cpu_seconds(server_pid) - server,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest value of a sorted row."""
    return values[min(int(len(values) * percent / 100), len(values) - 1)]
