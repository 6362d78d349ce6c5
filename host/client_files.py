"""Reading and replacing another program's configuration file, whole at every moment and with its mode kept."""

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stoa.errors import BadInput, Conflict

__all__ = ["BACKUP", "ConfigFile", "read_file"]

BACKUP: Final = ".stoa-backup"
"""What the name of a backup ends with."""
MAX_BYTES: Final = 64 * 2**20
_MARK: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file as it was read: `path` is where it really lies, links followed; `raw` is none where there is no file.

    `mode` is for the new file. The byte order mark that Windows programs write is kept.
    """

    path: Path
    raw: bytes | None
    mode: int

    @property
    def text(self) -> str:
        return (self.raw or b"").decode().removeprefix(_MARK)

    @property
    def backup(self) -> Path:
        return self.path.with_name(self.path.name + BACKUP)

    def with_text(self, text: str) -> bytes:
        """The new content, with the mark if there was one. Raises `BadInput` for what cannot be written as UTF-8."""
        mark = _MARK if (self.raw or b"").startswith(_MARK.encode()) else ""
        try:
            return (mark + text).encode()
        except UnicodeEncodeError as error:
            raise BadInput("A path in the entry is no valid text.", hint="Install Stoa in another folder.") from error

    def replace(self, content: bytes | None) -> None:
        """Put the content in the file's place at once, or remove the file. Raises `Conflict` when somebody else has
        written it since it was read.
        """
        if _bytes(self.path) != self.raw:
            raise Conflict(f"{self.path} has changed in the meantime; nothing was written.", hint="Try again.")
        if content is None:
            self.path.unlink()
        else:
            _publish(self.path, content, self.mode)

    def keep(self) -> Path | None:
        """A copy beside it, as it is now; none where there is no file."""
        if self.raw is None:
            self.backup.unlink(missing_ok=True)  # of another time: it is not what this change started from
            return None
        _publish(self.backup, self.raw, self.mode)
        return self.backup


def read_file(path: Path, *, new_mode: int) -> ConfigFile:
    """The file, or what it would be. Raises `BadInput` for what is no text file, or cannot be read."""
    try:
        real = path.resolve()
        raw = _bytes(real)
        if raw is None:
            return ConfigFile(real, None, new_mode)
        raw.decode()
        return ConfigFile(real, raw, stat.S_IMODE(real.stat().st_mode))
    except UnicodeDecodeError as error:
        where = f"at byte {error.start}"
        raise BadInput(f"{path} is not UTF-8 ({where}).", hint="Save it as UTF-8 and try again.") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        said = error.strerror if isinstance(error, OSError) else "links that lead in a circle"
        raise BadInput(f"{path} cannot be read: {said}.", hint="Look at its rights and links.") from error


def _bytes(path: Path) -> bytes | None:
    """What is in the file, only if it is one: reading a pipe or a device might never end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{path} is no regular file.", hint="Move it away and try again.")
        if found.st_size > MAX_BYTES:
            raise BadInput(
                f"{path} has {found.st_size} bytes, more than {MAX_BYTES}.", hint="Paste the entry yourself."
            )
        return file.read(MAX_BYTES + 1)


def _publish(path: Path, content: bytes, mode: int) -> None:
    """The whole file or none; readers never see half of it."""
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.chmod(draft, mode)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written: {error.strerror}.", hint="Look at the rights of its folder, or paste the entry."
        ) from error
