"""How long jobs tell how far they are."""

from collections.abc import Callable
from typing import Final

__all__ = ["OnProgress", "silent"]

OnProgress = Callable[[int, int], object]
"""Called between pages with what is done and what there is to do, in the same unit: positions, or bytes of a file."""


def _silent(done: int, of: int) -> None:
    """Nobody listens."""


silent: Final[OnProgress] = _silent
