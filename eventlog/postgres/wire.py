"""The door to asyncpg: sessions with what every one of ours has to have, and its errors in our words.

asyncpg has no types of its own, and its errors quote values: neither passes this room. What a session was doing when it
is cut off (cancelled, timed out, connection lost) may still run in the server: such a session is never used again.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Protocol, cast, final

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none; `_Wire` says what is used of it

from eventlog.database import Row, Value
from eventlog.postgres.address import VARIABLE, Address
from stoa.errors import BadInput, Conflict, Fault, StoaError, Unavailable

__all__ = ["SCHEMA", "Away", "CommitUnknown", "Contended", "Duplicate", "Session", "connect"]

SCHEMA: Final = "stoa"
"""Everything of ours lies in this schema, which nobody else may create things in. `pg_temp` stands last in the search
path, so that no temporary table hides one of ours (see the PostgreSQL manual, 5.10.6 and CVE-2018-1058)."""

CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 30.0
"""The server breaks off what takes longer, and waits no longer for a lock than `LOCK_SECONDS`."""
LOCK_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 5.0
_FOREVER: Final = 86_400.0

_SETTINGS: Final = {
    "application_name": "stoa",
    "search_path": f"{SCHEMA}, pg_temp",
    "default_transaction_isolation": "read committed",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "lock_timeout": f"{LOCK_SECONDS:.0f}s",
    # A process of ours that is frozen in the middle of a batch must not hold the end of the log for good.
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS:.0f}s",
    # Nor one whose machine is gone without a word.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "jit": "off",
}

_log: Final = logging.getLogger(__name__)


class Away(Unavailable):
    """The server cannot be reached, is starting or stopping, or cut us off. What was under way may have been done."""


class CommitUnknown(Away):
    """We were cut off during COMMIT: all of the transaction was done, or nothing, or the server is still at it."""


class Contended(Unavailable):
    """The server undid a transaction because of another one (deadlock, lock held too long): nothing was done."""


class Duplicate(Conflict):
    """A unique index refused a row."""


class _Wire(Protocol):
    """Of asyncpg's connection, what is used here."""

    async def execute(self, query: str, *args: object, timeout: float) -> str: ...  # noqa: ASYNC109 - theirs
    async def executemany(self, command: str, args: Iterable[object], *, timeout: float) -> None: ...  # noqa: ASYNC109 - theirs
    async def fetch(self, query: str, *args: object, timeout: float) -> list[Any]: ...  # noqa: ASYNC109 - theirs
    async def fetchmany(self, query: str, args: Iterable[object], *, timeout: float) -> list[Any]: ...  # noqa: ASYNC109 - theirs
    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[object],
        columns: Sequence[str],
        timeout: float,  # noqa: ASYNC109 - theirs
    ) -> str: ...
    async def add_listener(self, channel: str, callback: Callable[[object, int, str, object], None]) -> None: ...
    async def set_type_codec(
        self, typename: str, *, schema: str, encoder: object, decoder: object, format: str
    ) -> None: ...
    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109 - theirs
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...
    def get_server_pid(self) -> int: ...


@final
class Session:
    """One connection. Whatever goes wrong in it other than a refused statement closes it."""

    def __init__(self, wire: _Wire, address: Address) -> None:
        self._wire = wire
        self._address = address

    def __repr__(self) -> str:
        return f"<Session to {self._address}{', closed' if self.is_closed else ''}>"

    @property
    def is_closed(self) -> bool:
        return self._wire.is_closed()

    @property
    def pid(self) -> int:
        """Of the process in the server that works for this session."""
        return self._wire.get_server_pid()

    @asynccontextmanager
    async def transaction(self, begin: str = "BEGIN") -> AsyncGenerator[None]:
        """All that is done within, or nothing. Raises `CommitUnknown` when it is not known which."""
        try:
            await self.run(begin)
            yield
        except BaseException as error:
            if isinstance(error, Exception) and not self.is_closed:
                with suppress(StoaError):
                    await self.run("ROLLBACK")
            else:
                self.terminate()
            raise
        await self._commit()

    async def _commit(self) -> None:
        # Cut off by hand after a while, and not by asyncpg: it would ask the server to cancel, and a server that waits
        # for its synchronous standby says then that all is well, although the standby has nothing.
        knife = asyncio.get_running_loop().call_later(STATEMENT_SECONDS, self.terminate)
        try:
            with self._translated():
                await self._wire.execute("COMMIT", timeout=_FOREVER)
        except Away as error:
            raise CommitUnknown(error.message, retry_after=error.retry_after) from error
        finally:
            knife.cancel()

    async def run(self, script: str, *, seconds: float = STATEMENT_SECONDS) -> None:
        """Statements without values, in one round trip. The server's own limit is not changed by `seconds`."""
        with self._translated():
            await self._wire.execute(script, timeout=seconds + _GRACE_SECONDS)

    async def fetch(self, sql: str, *values: object) -> Sequence[Row]:
        with self._translated():
            return await self._wire.fetch(sql, *values, timeout=STATEMENT_SECONDS + _GRACE_SECONDS)

    async def change(self, sql: str, values: Sequence[Value]) -> int:
        """How many rows it changed."""
        with self._translated():
            status = await self._wire.execute(sql, *values, timeout=STATEMENT_SECONDS + _GRACE_SECONDS)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def change_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        with self._translated():
            await self._wire.executemany(sql, rows, timeout=STATEMENT_SECONDS + _GRACE_SECONDS)

    async def fetch_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> Sequence[Row]:
        with self._translated():
            return await self._wire.fetchmany(sql, rows, timeout=STATEMENT_SECONDS + _GRACE_SECONDS)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        with self._translated():
            await self._wire.copy_records_to_table(
                table, records=rows, columns=columns, timeout=STATEMENT_SECONDS + _GRACE_SECONDS
            )

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Call `heard` with the payload of each notification, as long as the session lives."""
        with self._translated():
            await self._wire.add_listener(channel, lambda _wire, _pid, _channel, payload: heard(str(payload)))

    async def close(self) -> None:
        try:
            await self._wire.close(timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _log.debug("a session to PostgreSQL did not end in peace: %s", type(error).__name__)

    def terminate(self) -> None:
        self._wire.terminate()

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except asyncpg.PostgresError as error:
            ours = _of_server(error, self._address)
            if isinstance(ours, Away):
                self._wire.terminate()
            raise ours from error
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if isinstance(error, ValueError):  # before anything was sent
                raise Fault("A value does not fit into a statement of ours.") from error
            self._wire.terminate()
            raise Away(f"The connection to PostgreSQL ({self._address}) broke.", retry_after=1.0) from error
        except BaseException:  # cancelled: the server may still be at work on it
            self._wire.terminate()
            raise


async def connect(address: Address) -> Session:
    """A new session. Raises `Away` when the server cannot be reached, `BadInput` when it does not take us."""
    options: dict[str, Any] = {"timeout": CONNECT_SECONDS, "server_settings": _SETTINGS}
    if address.wants_primary:
        options["target_session_attrs"] = "primary"
    try:
        wire = cast(_Wire, await asyncpg.connect(address.dsn, **options))  # pyright: ignore[reportUnknownMemberType] - no types
        # Sums of BIGINT are of this type: without a word they would come as Decimal.
        await wire.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text")
    # `from None`: what asyncpg says of an address may quote parts of it.
    except asyncpg.PostgresError as error:
        ours = _of_server(error, address)
        if isinstance(ours, Fault):
            ours = BadInput(
                f"PostgreSQL does not take the settings in {VARIABLE} ({_state(error)}).",
                hint="Take out what stands behind the question mark there, as far as libpq does not know it.",
            )
        raise ours from None
    except asyncpg.TargetServerAttributeNotMatched:
        raise Away(
            f"The PostgreSQL {address} is a standby that takes no events, or none of several is the primary.",
            hint="Wait for the end of the switch-over, or give the primary.",
            retry_after=2.0,
        ) from None
    except (OSError, TimeoutError, asyncpg.ConnectionDoesNotExistError) as error:
        why = "did not answer in time" if isinstance(error, TimeoutError) else f"cannot be reached ({_plain(error)})"
        raise Away(f"The PostgreSQL {address} {why}.", hint=f"Start it, or mend {VARIABLE}.", retry_after=2.0) from None
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
        raise BadInput(
            f"{VARIABLE} cannot be used ({type(error).__name__}).", hint="See docs/eventlog.md for its forms."
        ) from None
    return Session(wire, address)


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def _plain(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return f"{type(error).__name__}{f' {number}' if isinstance(number, int) else ''}"


def _state(error: object) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _of_server(error: object, address: Address) -> StoaError:
    """What the server says, by its SQLSTATE. Its details may quote values: they go nowhere but the chained error."""
    state = _state(error)
    match state:
        case "23505":
            return Duplicate("Something of that name or id is there already.")
        case "40001" | "40P01" | "55P03":
            return Contended(
                "Another process holds what we want to change.",
                hint="Try again; if it stays so, look for a stuck one.",
                retry_after=1.0,
            )
        case "57014":
            return Unavailable(
                f"PostgreSQL broke off a statement after {STATEMENT_SECONDS:.0f} s.",
                hint="Ask for less at once, or try when the server has less to do.",
                retry_after=5.0,
            )
        case "53100" | "53200" | "53400":
            return Unavailable(
                "PostgreSQL has no disk or memory left.", hint="Make room on its machine.", retry_after=30.0
            )
        case "25P03":
            return Away("PostgreSQL cut us off: a transaction of ours had stood still for too long.", retry_after=1.0)
        case "25006":
            return Away(
                f"The PostgreSQL {address} takes no events: it is read-only.", hint="Give the primary.", retry_after=5.0
            )
        case "08P01":
            return BadInput(
                f"The server at {address} refuses the settings of our sessions: it is a pooler, most likely.",
                hint="Connect to PostgreSQL itself, or through a pooler in session mode that lets settings pass.",
            )
        case "3D000":
            return BadInput(f"PostgreSQL has no database {address}.", hint=f"Create it, or mend {VARIABLE}.")
        case "42P01" | "3F000":  # what one may not look into seems not to be there
            return BadInput(
                f"The user of {VARIABLE} does not see the tables of the log in {address}.",
                hint=f"Grant it USAGE on the schema {SCHEMA!r} and all rights on its tables; or they were dropped.",
            )
        case "42501":
            return BadInput(
                f"The user of {VARIABLE} may not do that in {address}.",
                hint=f"Grant it CREATE on the database, or create the schema {SCHEMA!r} for it.",
            )
        case _:
            pass
    match state[:2]:
        case "28":
            return BadInput(
                f"PostgreSQL refuses the user or the password of {VARIABLE}.", hint="Mend it, or pg_hba.conf."
            )
        case "08" | "57" | "53":
            return Away(f"The PostgreSQL {address} is not available ({state}).", retry_after=2.0)
        case "23":
            return Conflict("The database refused a row that does not fit the others.")
        case _:
            _log.error("PostgreSQL refused a statement of ours: %s %s", state, getattr(error, "message", ""))
            return Fault(f"PostgreSQL refused a statement of ours ({state}).")
