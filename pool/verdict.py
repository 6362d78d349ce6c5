"""What a failed request means for whoever asked: the rules by which failures become errors of ours. Pure.

A request that may have reached the server is `OutcomeUnknown`, unless a trusted server calls the tool read-only or
idempotent: then asking again does no harm, and it is `Unavailable`.
"""

from pool.wire.failures import Lost, Refusal
from stoa.errors import BadInput, Denied, Fault, NotFound, OutcomeUnknown, StoaError, Unavailable

__all__ = ["after_deadline", "after_loss", "after_refusal"]

INVALID_PARAMS = -32602
METHOD_NOT_FOUND = -32601
INVALID_REQUEST = -32600
RESOURCE_NOT_FOUND = -32002  # what revisions before 2026-07-28 answer for a resource that does not exist


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
        return _after_status(refusal, refusal.status, server=server)
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


def _round(seconds: float) -> float:
    return round(seconds, 1 if seconds >= 1 else 2)


def _after_status(refusal: Refusal, status: int, *, server: str) -> StoaError:
    message = f"The server {server!r} refused. {refusal.message}"
    if status in (401, 403):
        return Denied(message, hint=f"Check mcpServers.{server}.headers.")
    if status in (408, 425, 429, 502, 503, 504):
        return Unavailable(message, retry_after=refusal.retry_after)
    if 300 <= status < 500:
        return BadInput(message, hint=f"Check mcpServers.{server}.url." if status < 400 else "")
    return Fault(message, hint="Its own log tells more.")
