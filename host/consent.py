"""Asking before something is done that nobody can undo."""

import sys

from host.output import Output
from stoa.errors import BadInput, Denied

__all__ = ["agree"]


def agree(output: Output, what: str, *, yes: bool) -> None:
    """Returns when it is agreed to: by --yes, or by a person at a terminal. Raises `Denied` for a no, and `BadInput`
    where nobody can be asked. `what` is a sentence."""
    if yes:
        return
    if output.as_json or not output.is_watched or not sys.stdin or not sys.stdin.isatty():
        raise BadInput(f"{what} That cannot be undone.", hint="Add --yes to do it.")
    output.note(f"{what} That cannot be undone.")
    sys.stderr.write("Do it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Denied("Nothing was done.")
