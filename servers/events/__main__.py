"""`python -m servers.events`: this server on stdio."""

import os
import sys

import platformdirs

from kit.serve import run, serve_stdio
from servers.events.server import create
from stoa.errors import StoaError
from stoa.settings import Settings


def main() -> int:
    try:
        settings = Settings.load(os.environ, default_home=platformdirs.user_data_path("stoa"))
        server = create(settings)
        run(lambda: serve_stdio(server), settings=settings)
    except StoaError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
