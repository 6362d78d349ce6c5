"""What a command knows of the words around it: the global options, and the exit codes it may end with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from host.signals import INTERRUPTED
from stoa.errors import BadInput, Conflict, Denied, Fault, NotFound, OutcomeUnknown, StoaError, Unavailable

if TYPE_CHECKING:
    from host.output import Output

__all__ = ["BAD_INPUT", "INTERRUPTED", "OK", "TOOL_FAILED", "UNAVAILABLE", "Session", "exit_code"]

OK: Final = 0
TOOL_FAILED: Final = 1
BAD_INPUT: Final = 2
UNAVAILABLE: Final = 3

_CODES: dict[type[StoaError], int] = {
    BadInput: BAD_INPUT,
    NotFound: BAD_INPUT,
    Denied: TOOL_FAILED,
    Conflict: TOOL_FAILED,
    OutcomeUnknown: TOOL_FAILED,
    Fault: TOOL_FAILED,
    Unavailable: UNAVAILABLE,
}


@dataclass
class Session:
    """The global options, and whether a command has already told its own end."""

    as_json: bool = False
    verbose: bool = False
    config: Path | None = None
    has_answered: bool = field(default=False, init=False)

    @property
    def output(self) -> "Output":
        from host.output import Output

        return Output(as_json=self.as_json, verbose=self.verbose)


def exit_code(error: StoaError) -> int:
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), TOOL_FAILED)
