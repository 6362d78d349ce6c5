"""A log that several processes use: where it lies, how to open it here, and how to start another process on it."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from eventlog.log import EventLog
from eventlog.open import open_log
from stoa.settings import Settings
from tests.eventlog.proofs.worker import RECORD
from tests.fakes.postgres import Cluster, fresh_database, open_cluster

ROOT = Path(__file__).parents[3]


@dataclass
class Place:
    home: Path
    url: str | None
    cluster: Cluster | None = None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[EventLog]:
        async with open_log(Settings.model_validate({"home": self.home, "database_url": self.url})) as log:
            yield log

    def start(self, part: str, *arguments: str) -> subprocess.Popen[bytes]:
        """What it tells lies in the file `told` names."""
        where = {"STOA_HOME": str(self.home)} | ({"STOA_DATABASE_URL": self.url} if self.url is not None else {})
        with self._file(len(self.started)).open("wb") as told:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.eventlog.proofs.worker", part, *arguments],
                cwd=ROOT, env={**os.environ, **where}, stdout=told, stderr=subprocess.PIPE,
            )  # fmt: skip
        self.started.append(process)
        return process

    def told(self, process: subprocess.Popen[bytes]) -> list[tuple[bytes, int]]:
        """Ids and positions, in the order in which the process told them."""
        raw = self._file(self.started.index(process)).read_bytes()
        whole = len(raw) // RECORD.size * RECORD.size
        return [(id, position) for id, position in RECORD.iter_unpack(raw[:whole])]

    def count(self, process: subprocess.Popen[bytes]) -> int:
        return self._file(self.started.index(process)).stat().st_size // RECORD.size

    def finish(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for its end; what it complained of."""
        assert process.stderr is not None
        with process.stderr as complaints:
            said = complaints.read().decode()
        process.wait()
        return said

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stderr is not None:
                process.stderr.close()

    def _file(self, number: int) -> Path:
        return self.home.parent / f"told-{number}"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    url = cast(str, request.getfixturevalue("postgres_url")) if request.param == "postgres" else None
    place = Place(tmp_path / "log", url)
    try:
        yield place
    finally:
        place.end()


@pytest.fixture
def fragile_place(tmp_path: Path) -> Iterator[Place]:
    """On a PostgreSQL of its own, which may be crashed."""
    with open_cluster() as cluster, fresh_database(cluster) as url:
        place = Place(tmp_path / "log", url, cluster)
        try:
            yield place
        finally:
            place.end()
