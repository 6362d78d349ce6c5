"""Run as a file, above the server's own command: `launch.py PARENT COMMAND [ARGUMENT…]`.

Starts the command in its own process group, with its own stdin, stdout and stderr, and stays as the group's leader
until the command ends; then it ends the same way, with the same exit code or signal. When its parent dies, also by
`kill -9`, it kills the whole group, so that what the server started ends as well. Whoever makes a session or group of
their own is out of reach. Runs without site-packages; imports nothing of ours.

PARENT says how the end of the parent is noticed: its pid on Linux, where the kernel sends a signal; `pipe:N` elsewhere,
where N is the reading end of a pipe that only the parent holds open for writing.
"""

import ctypes
import os
import resource
import select
import signal
import sys
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve, cleared by fork
PARENT_DIED = signal.SIGUSR2
LEFT_TO_THE_COMMAND = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
"""Sent to the group, they are for the command; the leader must outlive it."""


def main(argv: list[str]) -> int:
    how, _, number = argv[1].rpartition(":")
    if how == "pipe":
        _lead(argv[2:], lifeline=int(number))
    prctl = ctypes.CDLL(None).prctl
    signal.signal(PARENT_DIED, _end_group)
    prctl(PR_SET_PDEATHSIG, PARENT_DIED, 0, 0, 0)
    if os.getppid() != int(number):  # it died before the kernel was asked
        return 1
    _lead(argv[2:], lifeline=None)


def _lead(command: list[str], *, lifeline: int | None) -> NoReturn:
    for number in LEFT_TO_THE_COMMAND:
        signal.signal(number, signal.SIG_IGN)
    bell = _bell() if lifeline is not None else None
    leader = os.getpid()
    child = os.fork()
    if child == 0:
        for number in (*LEFT_TO_THE_COMMAND, PARENT_DIED):
            signal.signal(number, signal.SIG_DFL)
        if lifeline is None:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        else:
            os.close(lifeline)
        if os.getppid() == leader:
            _become(command)
        os._exit(127)
    _let_go_of_pipes()
    status = os.waitpid(child, 0)[1] if lifeline is None or bell is None else _status_of(child, lifeline, bell)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _die_of(-code)
    os._exit(code if code >= 0 else 128 - code)


def _bell() -> int:
    """A descriptor that can be read once a child has ended."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return reading


def _status_of(child: int, lifeline: int, bell: int) -> int:
    """How the child has ended, once it has; the end of the parent ends us with the whole group."""
    while True:
        ready, _, _ = select.select([lifeline, bell], [], [])
        if lifeline in ready:
            os.killpg(os.getpid(), signal.SIGKILL)
        os.read(bell, 64)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            return status


def _become(command: list[str]) -> None:
    try:
        os.execv(command[0], command)  # noqa: S606 - that is what a launcher is for
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode(errors="replace"))


def _end_group(number: int, frame: FrameType | None) -> None:
    # By our own pid: never the group of somebody else, even if we did not lead one.
    os.killpg(os.getpid(), signal.SIGKILL)


def _let_go_of_pipes() -> None:
    """The pipes are the command's: they have to end with it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)


def _die_of(number: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))  # the command has left one, if any
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
