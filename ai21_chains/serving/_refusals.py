"""What the server says when it does not do what a client asks."""

from __future__ import annotations

from typing import Any

from ai21_chains.errors import AI21Error


class Refused(AI21Error):
    """A request that the server itself turns down.

    Attributes:
        status: HTTP status of the answer.
        code: OpenAI's error code, such as "model_not_found".
        type: OpenAI's error type, such as "invalid_request_error".
        param: The field of the request that is at fault.
        retry_after: Seconds after which the same request may succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        type: str = "invalid_request_error",
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.type = type
        self.param = param
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the error with its attributes."""
        return _restored, (str(self), dict(vars(self)))


def _restored(message: str, state: dict[str, Any]) -> Refused:
    return Refused(message, **state)
