"""What is kept of a login: one file for each server address, in a folder that only its owner can read.

A file is written beside and then renamed, so that a reader sees all of it or none. Whoever wants to change one takes
its lock, which also holds other processes off: of two that refresh at once, one would be left with a dead token.
"""

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stoa.errors import BadInput, Unavailable

__all__ = ["FOLDER", "Grant", "TokenFolder", "canonical"]

FOLDER: Final = "tokens"
MAX_FILE_BYTES: Final = 2**18
LOCK_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
_PORTS: Final = {"http": 80, "https": 443}


class Grant(BaseModel):
    """What one server, or its authorization server, has given us. Secrets are left out of its repr.

    `resource` and the addresses are kept because a refresh has to go where the login went, without looking for it anew.
    `expires_at` is in seconds since 1970; None when the server did not say. `wanted` is the scope that the next login
    has to ask for, because a request was refused without it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    version: Literal[1] = 1
    url: str
    access_token: str = Field(repr=False, min_length=1)
    refresh_token: str | None = Field(None, repr=False)
    expires_at: float | None = Field(None, allow_inf_nan=False)
    scope: str | None = None
    wanted: str | None = None
    issuer: str | None = None
    resource: str | None = None
    token_endpoint: str
    revocation_endpoint: str | None = None
    client_id: str
    client_secret: str | None = Field(None, repr=False)
    client_auth: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(each for each in (self.access_token, self.refresh_token, self.client_secret) if each)

    def __str__(self) -> str:
        return f"login to {self.url}"


def canonical(url: str) -> str:
    """The address as it names a login: without user, fragment and default port, host in small letters."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port not in (None, _PORTS.get(scheme)) else ""
    return urlunsplit((scheme, host + port, parts.path or "/", parts.query, ""))


class TokenFolder:
    """`STOA_HOME/tokens`. Made, with mode 0700, when something is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"<TokenFolder {self.folder}>"

    def path(self, url: str) -> Path:
        """The file for an address; its name begins with the host, for people."""
        name = canonical(url)
        host = re.sub(r"[^a-z0-9.-]", "_", urlsplit(name).hostname or "")[:80]
        return self.folder / f"{host}-{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"

    def read(self, url: str) -> Grant | None:
        """What is kept for the address. Raises `BadInput` for a file that cannot be used."""
        path = self.path(url)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadInput(f"The login in {str(path)!r} cannot be read: {error.strerror}.", hint="Mend it.") from None
        try:
            grant = Grant.model_validate_json(data)
        except ValidationError:  # whose words quote what it found
            grant = None
        if grant is None or grant.url != canonical(url):
            raise BadInput(
                f"The login in {str(path)!r} cannot be used: it is damaged.", hint="Delete the file, and log in again."
            )
        return grant

    def write(self, grant: Grant) -> None:
        """Keep it, for the owner's eyes only. Raises `BadInput` where that cannot be done."""
        path = self.path(grant.url)
        try:
            self._make()
            number, name = tempfile.mkstemp(prefix=".new-", dir=self.folder)  # mode 0600
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(grant.model_dump_json(indent=2).encode())
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            raise self._unwritable(error) from None

    def forget(self, url: str) -> None:
        """Delete what is kept for the address, if anything is."""
        try:
            self.path(url).unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    @asynccontextmanager
    async def locked(self, url: str) -> AsyncGenerator[None]:
        """Nobody else, also in no other process, is in this block for this address. Raises `Unavailable` after a while.

        The lock's file stays: deleting it would let two in.
        """
        try:
            self._make()
            number = os.open(self.path(url).with_suffix(".lock"), os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            with anyio.move_on_after(LOCK_SECONDS) as scope:
                while not _try_lock(number):  # noqa: ASYNC110 - the kernel offers no event that a loop could wait for
                    await anyio.sleep(POLL_SECONDS)
            if scope.cancelled_caught:
                raise Unavailable(f"Another process is logging in to {urlsplit(url).hostname} and does not end.")
            yield
        finally:
            os.close(number)  # which gives the lock back

    def _make(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.stat().st_mode & 0o077:
            self.folder.chmod(0o700)

    def _unwritable(self, error: OSError) -> BadInput:
        return BadInput(
            f"The folder {str(self.folder)!r} for logins cannot be written: {error.strerror}.",
            hint="Set STOA_HOME to a folder that you may write.",
        )


_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)

if sys.platform == "win32":
    import msvcrt

    def _try_lock(number: int) -> bool:
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(number: int) -> bool:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
