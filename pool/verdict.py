"""What a failed request means for whoever asked: the rules by which failures become errors of ours. Pure.

A request that may have reached the server is `OutcomeUnknown`, unless a trusted server calls the tool read-only or
idempotent: then asking again does no harm, and it is `Unavailable`.
"""

from pool.wire.failures import Lost, Refusal
from stoa.errors import BadInput, Denied, Fault, NotFound, OutcomeUnknown, StoaError, Unavailable

__all__ = [
    "BUSY",
    "Failure",
    "Late",
    "after_deadline",
    "after_loss",
    "after_refusal",
    "after_status",
    "counts_against",
    "is_answer",
    "is_worth_another",
]

INVALID_PARAMS = -32602
METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603
INVALID_REQUEST = -32600
RESOURCE_NOT_FOUND = -32002  # what revisions before 2026-07-28 answer for a resource that does not exist

BUSY = frozenset({408, 425, 429, 502, 503, 504})
"""HTTP statuses of whoever did not get to the request: another replica may."""


class Late(Exception):
    """No answer came in the time there was; the server was told to stop."""

    def __init__(self, seconds: float, told: str = "") -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.seconds = seconds
        self.told = told


Failure = Lost | Refusal | Late
"""How an attempt can fail."""


def is_worth_another(failure: Failure, *, may_repeat: bool) -> bool:
    """Whether another attempt is harmless, and may bring more than this one. What was answered is never asked again,
    and when the time is over there is none left for a second attempt."""
    if isinstance(failure, Lost):
        return may_repeat or not failure.sent
    if isinstance(failure, Late):
        return False
    return may_repeat and failure.status in BUSY


def is_answer(failure: Failure) -> bool:
    """Whether the server answered, if only to say no."""
    return isinstance(failure, Refusal) and failure.status is None


def counts_against(refusal: Refusal) -> bool:
    """Whether it says something bad about the replica: a server that refuses whatever comes is fast, and would attract
    the calls. What the caller did wrong says nothing."""
    if refusal.status is not None:
        return refusal.status in BUSY or refusal.status >= 500
    return refusal.code == INTERNAL_ERROR


def after_loss(loss: Lost, what: str, *, server: str, may_repeat: bool) -> StoaError:
    """No answer will come. `what` names the request: `content.search_documents`."""
    if not loss.sent:
        return Unavailable(f"The server {server!r} cannot be reached. {loss.reason}".strip())
    if may_repeat:
        return Unavailable(f"The server {server!r} was lost during {what}. {loss.reason}".strip())
    return OutcomeUnknown(
        f"The server {server!r} was lost during {what}; it may or may not have taken effect. {loss.reason}".strip(),
        hint="Look at the state of things before you do it again.",
    )


def after_deadline(what: str, seconds: float, *, may_repeat: bool, told: str = "") -> StoaError:
    """No answer came in time; the server was told to stop."""
    if may_repeat:
        return Unavailable(
            f"{what} did not answer within {_round(seconds):g} seconds and was cancelled. {told}".strip(),
            hint="Try again, or allow it more time.",
        )
    return OutcomeUnknown(
        f"{what} did not answer within {_round(seconds):g} seconds and was cancelled; "
        f"it may or may not have taken effect. {told}".strip(),
        hint="Look at the state of things before you do it again, or allow it more time.",
    )


def after_refusal(refusal: Refusal, what: str, *, server: str) -> StoaError:
    """The server answered with an error of the protocol."""
    said = refusal.message.strip() or f"error {refusal.code}"
    if refusal.status is not None:
        return after_status(refusal, refusal.status, server=server)
    if refusal.code == INVALID_PARAMS:
        return BadInput(f"{what} was refused by the server {server!r}: {said}")
    if refusal.code == RESOURCE_NOT_FOUND:
        return NotFound(f"{what}: {said}")
    if refusal.code == METHOD_NOT_FOUND:
        return NotFound(f"The server {server!r} does not offer this: {said}")
    if refusal.code == INVALID_REQUEST:
        return BadInput(f"{what} was refused: {said}")
    return Fault(
        f"The server {server!r} failed at {what}: {said} (JSON-RPC error {refusal.code}).",
        hint="Its own log tells more.",
    )


def after_status(refusal: Refusal, status: int, *, server: str) -> StoaError:
    """An HTTP server, or something before it, answered without a JSON-RPC error."""
    message = f"The server {server!r} refused. {refusal.message}"
    if status == 401:
        return Denied(message, hint=f"Log in: stoa login {server}, or put a token into mcpServers.{server}.headers.")
    if status == 403:
        return Denied(
            message, hint=f"Give its login more rights: stoa login {server}; or check mcpServers.{server}.headers."
        )
    if status in BUSY:
        return Unavailable(message, retry_after=refusal.retry_after)
    if 300 <= status < 500:
        return BadInput(message, hint=f"Check mcpServers.{server}.url." if status < 400 else "")
    return Fault(message, hint="Its own log tells more.")


def _round(seconds: float) -> float:
    return round(seconds, 1 if seconds >= 1 else 2)
