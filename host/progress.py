"""How far a long job is: a bar on a terminal, elsewhere a line now and then; nothing for what is soon done."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from host.output import Output

__all__ = ["EACH_SECONDS", "progress"]

EACH_SECONDS: Final = 10.0


@contextmanager
def progress(
    output: Output, doing: str, *, clock: Callable[[], float] = time.monotonic
) -> Generator[Callable[[int, int], None]]:
    """Calls itself with what is done, and what there is to do."""
    if output.is_watched:
        with output.bar(doing, 0) as bar:
            yield bar.reach
        return
    said = clock()

    def line(done: int, of: int) -> None:
        nonlocal said
        if clock() - said >= EACH_SECONDS:
            said = clock()
            output.note(f"{doing}: {done:,} of {of:,}")

    yield line
