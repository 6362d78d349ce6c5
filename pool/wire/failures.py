"""How one request over one connection can fail, before anybody judged what that means for the caller."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pydantic import JsonValue

from pool.redact import mask
from pool.spec import HttpSpec, MemberSpec, SseSpec, WsSpec

__all__ = ["Lost", "Refusal", "first_cause", "let_in_hint", "read_error"]

INTERNAL_ERROR: Final = -32603
MAX_CODE: Final = 2**53
MAX_SAID: Final = 4000


class Lost(Exception):
    """No answer will come. `sent` tells whether the request may have reached the server, `is_final` whether the
    whole connection is gone rather than this one exchange."""

    def __init__(self, reason: str, *, sent: bool = True, is_final: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        self.is_final = is_final

    def clean(self, secrets: Sequence[str]) -> None:
        """Take secrets out of what is said, and keep it short."""
        self.reason = _clean(self.reason, secrets)
        self.args = (self.reason,)


class Refusal(Exception):
    """The server answered with an error of the protocol: a JSON-RPC code, or an HTTP status without one."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        data: JsonValue = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.status = status
        self.retry_after = retry_after

    def clean(self, secrets: Sequence[str]) -> None:
        """Take secrets out of what is said, and keep it short."""
        self.message = _clean(self.message, secrets)
        self.args = (self.message,)


def read_error(error: Mapping[str, Any]) -> Refusal:
    """The error of a JSON-RPC answer."""
    code, message = error.get("code"), error.get("message")
    return Refusal(
        code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < MAX_CODE else INTERNAL_ERROR,
        message if isinstance(message, str) else "",
        data=error.get("data"),
    )


def _clean(said: str, secrets: Sequence[str]) -> str:
    # Masked before it is cut: half a secret at the edge would not be recognised.
    return mask(said[: 2 * MAX_SAID], secrets)[:MAX_SAID]


def first_cause(error: BaseException) -> BaseException:
    """The first error inside nested groups, which is how task groups report what ended them."""
    if isinstance(error, BaseExceptionGroup):
        return first_cause(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error


def let_in_hint(spec: MemberSpec, status: int | None, *, server: str) -> str:
    """What helps against a server that does not let us in."""
    has_token = isinstance(spec, HttpSpec | SseSpec | WsSpec) and any(
        name.lower() == "authorization" for name in spec.headers
    )
    if status != 401 or has_token or not isinstance(spec, HttpSpec | SseSpec):
        return f"Check mcpServers.{server}.headers."
    return f"Log in: stoa login {server}, or put a token into mcpServers.{server}.headers."
