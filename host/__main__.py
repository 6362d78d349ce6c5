"""The command `stoa`."""

import sys
from typing import NoReturn

from host.signals import INTERRUPTED, Stopping

__all__ = ["main"]


def main() -> NoReturn:
    stopping = Stopping()
    stopping.at_once()
    from host.door import run_command  # a tenth of a second, in which Ctrl-C may come

    stopping.tidily()
    try:
        code = run_command(sys.argv[1:])
    except KeyboardInterrupt:  # before the door has its hands on it, or after
        code = INTERRUPTED
    stopping.by_default()
    sys.exit(stopping.code(code))


if __name__ == "__main__":
    main()
