"""Run as a file, before the server's own command on Linux: `launch.py PARENT_PID COMMAND [ARGUMENT…]`.

Asks the kernel to kill this process when its parent dies, then becomes the command: that covers `kill -9` of the host
for servers that do not notice the end of their stdin. Runs without site-packages; imports nothing of ours.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve, cleared by fork


def main(argv: list[str]) -> int:
    parent, command = int(argv[1]), argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        return 1
    try:
        os.execv(command[0], command)  # noqa: S606 - that is what a launcher is for
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv))
