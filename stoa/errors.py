"""What can go wrong, sorted by who can mend it.

Each edge (MCP, HTTP, command line) turns these into its own form once, at the door. A message says what happened, with
the values that matter and without secrets; the hint says what to do next.
"""

from typing import ClassVar

__all__ = ["BadInput", "Conflict", "Denied", "Fault", "NotFound", "OutcomeUnknown", "StoaError", "Unavailable"]


class StoaError(Exception):
    """Base of every error of ours.

    `code` is the stable word for programs, `message` the sentence for people, `hint` the remedy (may be empty).
    `retryable` tells whether the very same request can succeed later, `retry_after` how long to wait, in seconds.
    """

    code: ClassVar[str] = "fault"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = retry_after

    def __str__(self) -> str:
        """In one piece. A message that ends with words of others, of a process say, gets its full stop first."""
        if not self.message or not self.hint:
            return self.message or self.hint
        gap = " " if self.message.endswith((".", "!", "?", ":", ";", ",")) else ". "
        return f"{self.message}{gap}{self.hint}"


class BadInput(StoaError):
    """The caller sent something that cannot be used; the caller mends it."""

    code = "bad_input"


class NotFound(StoaError):
    """What was named does not exist, or the caller may not know that it does."""

    code = "not_found"


class Denied(StoaError):
    """The caller is known and may not do this, or is not known at all."""

    code = "denied"


class Conflict(StoaError):
    """Somebody else was faster; read again and decide again."""

    code = "conflict"


class Unavailable(StoaError):
    """Something that is needed is away or too busy; nothing was done, the same request may be sent again."""

    code = "unavailable"
    retryable = True


class OutcomeUnknown(StoaError):
    """A request was sent and no answer came: it may or may not have taken effect. Never retried by machine."""

    code = "outcome_unknown"


class Fault(StoaError):
    """Our own mistake; the makers mend it. The message carries no internals, the log does."""

    code = "fault"
