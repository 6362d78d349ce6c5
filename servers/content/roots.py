"""Files that callers may name: only regular ones, only below folders that were allowed, none by default.

A path is checked twice. `resolve` follows every link and looks where it ends. `read_below` then opens the file, folder
by folder from the root, without following any link, so that nothing swapped in between leads out.
"""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from servers.content.formats.limits import MAX_BYTES
from stoa.errors import BadInput, Denied, NotFound

__all__ = ["check_roots", "read_below", "resolve"]

_OPTIONAL_FLAGS = ("O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK", "O_BINARY")  # not every platform has them all
_FLAGS = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in _OPTIONAL_FLAGS)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)


def check_roots(roots: Sequence[Path], *, force: bool, home: Path | None = None) -> tuple[Path, ...]:
    """The roots with all links resolved. `/`, the home folder and what holds it are refused unless forced."""
    home = (home or Path.home()).resolve()
    checked: list[Path] = []
    for root in roots:
        try:
            real = root.expanduser().resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise BadInput(
                f"The root {str(root)!r} cannot be used: {_reason(error)}.", hint="Name a folder."
            ) from error
        if not real.is_dir():
            raise BadInput(f"The root {str(root)!r} is not a folder.", hint="Name a folder.")
        if not force and (real == Path(real.anchor) or home.is_relative_to(real)):
            what = "the whole file system" if real == Path(real.anchor) else "the home folder, keys and all"
            raise Denied(
                f"The root {str(root)!r} is {what}; callers could read every document in it.",
                hint="Name a folder that holds only what may be read, or force it (--force-root, STOA_FORCE_ROOTS=1).",
            )
        if real not in checked:
            checked.append(real)
    return tuple(checked)


def resolve(path: str, roots: Sequence[Path]) -> Path:
    """The real path of a regular file below one of the roots (as `check_roots` gives them).

    A relative path is looked for below each root in turn. Whether anything exists outside the roots is not told.
    """
    if not roots:
        raise Denied(
            f"The path {path!r} cannot be read: no folder is allowed.",
            hint="Start the server with --root DIR or set STOA_ROOTS; or send the document's text or bytes instead.",
        )
    if not path.strip() or "\x00" in path:
        raise BadInput(f"{path!r} is not a path.", hint="Give the path of a file below an allowed root.")
    if ".." in Path(path).parts:
        raise Denied(f"The path {path!r} contains '..'.", hint=f"Give it without. {_allowed(roots)}")
    missing = False
    for root in roots:
        candidate = root / path  # an absolute path stays itself
        try:
            real = candidate.resolve()
        except (OSError, RuntimeError, ValueError):  # a circle of links, or a name that is too long
            continue
        if not any(real.is_relative_to(each) for each in roots):
            continue
        kind = _kind(path, real)
        if kind is None:
            missing = True
        elif stat.S_ISDIR(kind):
            raise BadInput(f"The path {path!r} is a folder.", hint="Name one file in it.")
        elif not stat.S_ISREG(kind):
            raise BadInput(f"The path {path!r} is not a regular file.", hint="Devices, pipes and sockets are not read.")
        else:
            return real
    if missing:
        raise NotFound(f"There is no file {path!r}.", hint=_allowed(roots))
    raise Denied(f"The path {path!r} is below no allowed root, or leads out of it.", hint=_allowed(roots))


def read_below(path: str, roots: Sequence[Path], *, max_bytes: int = MAX_BYTES) -> tuple[bytes, Path]:
    """The bytes of a file below the roots, and its real path."""
    real = resolve(path, roots)
    root = next(root for root in roots if real.is_relative_to(root))
    try:
        descriptor = _open(root, real)
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path!r}.", hint=_allowed(roots)) from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Denied(f"The path {path!r} changed while it was opened.", hint="Try again.") from error
        raise Denied(
            f"The path {path!r} cannot be read: {_reason(error)}.", hint="Allow the server to read it."
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"The path {path!r} is not a regular file.", hint="Devices, pipes and sockets are not read.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise Denied(f"The path {path!r} cannot be read: {_reason(error)}.", hint="Try again.") from error
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise BadInput(
            f"The file {path!r} has more than {max_bytes:,} bytes.",
            hint="Split it into smaller documents, or send only its text.",
        )
    return data, real


def _open(root: Path, real: Path) -> int:
    """A descriptor for `real`, reached from the root without following any link. Never waits, not even for a pipe."""
    if os.open not in os.supports_dir_fd:  # Windows: the path holds no links, as `resolve` found a moment ago
        return os.open(real, _FLAGS)
    *folders, name = real.relative_to(root).parts
    current = os.open(root, _FLAGS | _FOLDER)
    try:
        for folder in folders:
            following = os.open(folder, _FLAGS | _FOLDER | _NO_LINK, dir_fd=current)
            os.close(current)
            current = following
        return os.open(name, _FLAGS | _NO_LINK, dir_fd=current)
    finally:
        os.close(current)


def _kind(path: str, real: Path) -> int | None:
    """The mode of what is there, None when nothing is."""
    try:
        return real.stat().st_mode
    except PermissionError as error:
        raise Denied(
            f"The path {path!r} cannot be read: {_reason(error)}.", hint="Allow the server to read it."
        ) from error
    except (OSError, ValueError):
        return None


def _allowed(roots: Sequence[Path]) -> str:
    return f"Allowed: files below {', '.join(map(str, roots))}."


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
