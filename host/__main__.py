"""The command `stoa`."""

import sys
from typing import NoReturn

from host.door import run_command

__all__ = ["main"]


def main() -> NoReturn:
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
