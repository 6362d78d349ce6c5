"""What every way to a server has in common: whether it is lost, and why. Transports add entering and leaving."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import anyio
from mcp.client._transport import TransportStreams  # pyright: ignore[reportPrivateUsage] - the type of a transport

__all__ = ["Link", "LinkedTransport"]


class Link:
    """A connection's fate: `lost` is set once, and the first reason is the one that is told."""

    def __init__(self) -> None:
        self.lost = anyio.Event()
        self.reason = ""

    def lose(self, reason: str) -> None:
        """The connection is of no more use."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()

    def explain(self) -> str:
        """What is known about the end, for people."""
        return self.reason


class LinkedTransport(Link, ABC):
    """A transport as the SDK's client takes it: entered and left once, by the same task."""

    def __init__(self) -> None:
        super().__init__()
        self._context: AbstractAsyncContextManager[TransportStreams] | None = None

    @abstractmethod
    def _run(self) -> AbstractAsyncContextManager[TransportStreams]:
        """Open on entering, close on leaving."""

    async def __aenter__(self) -> TransportStreams:
        self._context = self._run()
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._context is not None
        return await self._context.__aexit__(kind, error, trace)
