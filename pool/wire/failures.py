"""How one request over one connection can fail, before anybody judged what that means for the caller."""

from typing import cast

from pydantic import JsonValue

__all__ = ["Lost", "Refusal", "first_cause"]


class Lost(Exception):
    """No answer will come. `sent` tells whether the request may have reached the server, `is_final` whether the
    whole connection is gone rather than this one exchange."""

    def __init__(self, reason: str, *, sent: bool = True, is_final: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        self.is_final = is_final


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


def first_cause(error: BaseException) -> BaseException:
    """The first error inside nested groups, which is how task groups report what ended them."""
    if isinstance(error, BaseExceptionGroup):
        return first_cause(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
