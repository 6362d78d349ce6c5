"""Progress on its way to the caller: of one attempt at a time, and never backwards."""

from stoa.tools import Progress

__all__ = ["Relay"]


class Relay:
    """Attempts are numbered; the one that leads is heard. What others tell is kept, for the case that they take over.

    The protocol wants progress to increase, which two attempts at one request by themselves do not.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = float("-inf")
        self._leader = 1
        self._held: dict[int, tuple[float, float | None, str | None]] = {}

    def __repr__(self) -> str:
        return f"<Relay: attempt {self._leader} leads, told {self._told:g}>"

    def of(self, number: int) -> Progress:
        async def hear(done: float, total: float | None, message: str | None) -> None:
            if number == self._leader:
                await self._tell(done, total, message)
            else:
                self._held[number] = done, total, message

        return hear

    async def lead(self, number: int) -> None:
        """From now on this attempt is heard."""
        self._leader = number
        if (held := self._held.pop(number, None)) is not None:
            await self._tell(*held)

    async def _tell(self, done: float, total: float | None, message: str | None) -> None:
        if done > self._told:
            self._told = done
            await self._progress(done, total, message)
