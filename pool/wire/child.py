"""A child process in a session of its own: started, listened to on stderr, and ended for certain.

Everything it starts belongs to its process group and ends with it. Ending is bounded in time: stdin is closed, then the
group gets SIGTERM, then SIGKILL. A launcher stays above it, which notices when the host itself is killed and then
kills the group: by the kernel's word on Linux, by a pipe elsewhere. On Windows the child only sees its stdin end.
"""

import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from pool.redact import mask
from pool.spec import StdioSpec
from pool.wire.lifeline import WATCH, Lifeline, Watch
from stoa.errors import BadInput, Unavailable

__all__ = ["Child", "LastWords", "start_child"]

INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
POLL_SECONDS = 0.01
REAP_SECONDS = 2.0
MAX_OPEN_LINE_BYTES = 2**16
_GONE = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class LastWords:
    """The last lines a child wrote on stderr, bounded in number and length."""

    def __init__(self, *, secrets: Sequence[str] = (), max_lines: int = 40, max_characters: int = 400) -> None:
        self._lines: deque[str] = deque(maxlen=max_lines)
        self._open = b""
        self._max_characters = max_characters
        self._secrets = tuple(secrets)

    def feed(self, chunk: bytes) -> None:
        *lines, rest = (self._open + chunk).split(b"\n")
        for line in lines[-(self._lines.maxlen or 0) :]:
            self._keep(line)
        self._open = rest[:MAX_OPEN_LINE_BYTES]

    def note(self, line: str) -> None:
        """Something worth telling that the child did not say itself."""
        self._lines.append(line[: self._max_characters])

    def tail(self, most: int = 5) -> str:
        """The last lines that say something, masked, as one indented text; empty when there are none."""
        lines = [*self._lines, self.clean(self._open)]
        return "\n".join(f"  {line}" for line in [line for line in lines if line.strip()][-most:])

    def lines(self) -> tuple[str, ...]:
        """All that is kept, masked."""
        return tuple(line for line in [*self._lines, self.clean(self._open)] if line.strip())

    def _keep(self, line: bytes) -> None:
        self._lines.append(self.clean(line))

    def clean(self, line: bytes) -> str:
        text = "".join(mark for mark in line.decode("utf-8", "replace") if mark.isprintable() or mark == "\t")
        # Masked before it is cut: half a secret at the edge would not be recognised.
        return mask(text, self._secrets)[: self._max_characters]


class Child:
    """One running process. Whoever started it calls `stop()`, whatever happens."""

    def __init__(self, process: Process, *, words: LastWords, lifeline: Lifeline) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self.words = words
        self.stdin: ByteSendStream = process.stdin
        self.stdout: ByteReceiveStream = process.stdout
        self._stderr: ByteReceiveStream = process.stderr
        self._lifeline = lifeline
        self._is_stopped = False

    def __repr__(self) -> str:
        state = "running" if self.exit_code is None else f"exit code {self.exit_code}"
        return f"<Child {self.pid} {state}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    async def listen(self) -> None:
        """Keep what it writes on stderr; it never blocks on a full pipe. Ends with the pipe."""
        with suppress(*_GONE):
            while True:
                self.words.feed(await self._stderr.receive())

    async def wait(self) -> None:
        """Until it ended, whoever still holds its pipes."""
        await self._process.wait()

    async def exited(self, within_seconds: float) -> bool:
        """Whether it ended in time. Polls: asyncio's own wait also waits for pipes that grandchildren hold open."""
        deadline = anyio.current_time() + within_seconds
        while self.exit_code is None:
            if anyio.current_time() >= deadline:
                return False
            await anyio.sleep(POLL_SECONDS)
        return True

    async def stop(self, grace_seconds: float) -> None:
        """Close its stdin, wait; SIGTERM to the group, wait; SIGKILL. Cannot be cancelled, ends in time."""
        with anyio.CancelScope(shield=True):
            try:
                # The standard sequence of MCP's lifecycle page for stdio.
                await _close(self.stdin)
                await self.exited(grace_seconds)
                if self._signal(signal.SIGTERM):
                    await self._group_ends(grace_seconds)
            finally:
                # Not awaited, so that it also happens when the event loop itself is being torn down.
                self.kill()
            await self.exited(REAP_SECONDS)
            for stream in (self.stdout, self._stderr):
                await _close(stream)
            self._close_transport()

    def kill(self) -> None:
        """SIGKILL to whatever is left of the group. Does not wait; does nothing the second time."""
        if not self._is_stopped:
            self._is_stopped = True
            self._signal(signal.SIGKILL)
            self._lifeline.cut()

    def _signal(self, number: int) -> bool:
        """Whether anybody may still be there to receive it."""
        if sys.platform == "win32":
            with suppress(ProcessLookupError):
                self._process.terminate()
            return self.exit_code is None
        try:
            # The child leads its group, so its pid names the group even after the child itself is gone.
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    async def _group_ends(self, within_seconds: float) -> None:
        with anyio.move_on_after(within_seconds):
            while self._signal(0):  # noqa: ASYNC110 - the kernel offers no event for a group
                await anyio.sleep(POLL_SECONDS)

    def _close_transport(self) -> None:
        """asyncio's transport stays open (and warns) while somebody outside the group holds a pipe; nothing public
        closes it."""
        transport = getattr(getattr(self._process, "_process", None), "_transport", None)
        close = getattr(transport, "close", None)
        if callable(close):
            with suppress(PermissionError):
                close()


async def start_child(
    spec: StdioSpec,
    *,
    server: str,
    environ: Mapping[str, str],
    words: LastWords | None = None,
    watch: Watch = WATCH,
) -> Child:
    """Start it; what it writes on stderr goes into `words`, `watch` says how it is noticed that we have died. Raises
    `BadInput` when the command or its folder does not exist, `Unavailable` when it cannot start."""
    env = {name: environ[name] for name in INHERITED if name in environ} | dict(spec.env)
    if spec.cwd is not None and not os.path.isdir(spec.cwd):  # noqa: ASYNC240 - one stat, right before a fork
        raise BadInput(
            f"The server {server!r} is to run in the folder {spec.cwd!r}, which does not exist.",
            hint=f"Correct mcpServers.{server}.cwd.",
        )
    program = find_program(spec.command, path=env.get("PATH"), cwd=spec.cwd)
    if program is None:
        raise BadInput(
            f"The command {spec.command!r} of the server {server!r} was not found.",
            hint=f"Install it, or give its full path in mcpServers.{server}.command.",
        )
    lifeline = Lifeline(watch)
    try:
        with lifeline:
            argv = lifeline.above([program, *spec.args])
            process = await _spawn(argv, env=env, cwd=spec.cwd, pass_fds=lifeline.pass_fds)
    except OSError as error:
        raise Unavailable(
            f"The server {server!r} cannot be started: {error.strerror or error}.", hint=f"Command: {spec}"
        ) from error
    except ValueError as error:  # an embedded zero byte
        raise BadInput(
            f"The command of the server {server!r} cannot be used: {error}.", hint=f"Correct mcpServers.{server}."
        ) from error
    words = LastWords(secrets=spec.secrets) if words is None else words
    return Child(process, words=words, lifeline=lifeline)


def find_program(command: str, *, path: str | None, cwd: str | None) -> str | None:
    """The file to run, or None. `stoa` is the script beside our own interpreter, whatever PATH says."""
    if command == "stoa":
        beside = Path(sys.executable).with_name("stoa")
        if beside.is_file():
            return str(beside)
    if os.path.dirname(command):
        # A relative path is meant from the folder the server runs in.
        command = str(Path(cwd or ".").absolute() / command)
    return shutil.which(command, path=path)


async def _spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None, pass_fds: Sequence[int]) -> Process:
    # Shielded: a cancellation between the fork and our knowing of it would lose a running process.
    with anyio.CancelScope(shield=True):
        return await anyio.open_process(argv, env=env, cwd=cwd, start_new_session=True, pass_fds=pass_fds)
    raise AssertionError  # a shield swallows nothing


async def _close(stream: ByteSendStream | ByteReceiveStream) -> None:
    with suppress(*_GONE):
        await stream.aclose()
