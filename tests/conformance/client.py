"""The client that the official suite drives: `python client.py URL`, with the scenario in the environment.

The suite starts all its clients at once, up to forty interpreters. So each of them only hands its scenario to the
process that runs the suite (`client_scenarios.py`), which plays them with a pool for each, a few at the same time. The
last line on stdout says how it ended.
"""

import json
import os
import socket
import sys
from typing import Final

__all__ = ["DONE", "REFUSED", "SOCKET"]

DONE: Final = "done"
REFUSED: Final = "refused: "
SOCKET: Final = "clients.sock"
"""Where the scenarios are played, in the working directory of the suite."""


def main(url: str) -> int:
    part = {
        "scenario": os.environ["MCP_CONFORMANCE_SCENARIO"],
        "url": url,
        "context": json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")),
    }
    with socket.socket(socket.AF_UNIX) as stage:
        stage.connect(SOCKET)
        stage.sendall(json.dumps(part).encode())
        stage.shutdown(socket.SHUT_WR)
        ending = b"".join(iter(lambda: stage.recv(65536), b"")).decode()
    sys.stdout.write(f"{ending}\n")
    return 0 if ending == DONE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
