"""The error tree: each class is raised by something, pickles, and is LangChain's class as well."""

import copy
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from langchain_core import exceptions as langchain_exceptions
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration
from pydantic import SecretStr

from ai21_chains import errors
from ai21_chains._maestro import finish
from ai21_chains._messages import to_wire
from ai21_chains._options import check_call
from ai21_chains._protocol import error_from_response, read_completion
from ai21_chains._streams import StreamReader
from ai21_chains._structured import StructuredOutputParser
from ai21_chains.client import STUDIO, AI21Client
from ai21_chains.documents import load_documents
from tests.cases import each

URL = "https://api.ai21.com/studio/v1/chat/completions"
WHERE = f"POST {URL}"


def failing_with(problem: httpx.TransportError) -> Callable[[], object]:
    def handler(request: httpx.Request) -> httpx.Response:
        raise problem

    def call() -> object:
        with httpx.Client(transport=httpx.MockTransport(handler)) as http:
            client = AI21Client(api_key=SecretStr("test-key"), max_retries=0, http_client=http)
            return client.complete({"model": "jamba-mini", "messages": []})

    return call


def answering(status: int, detail: str = "No.") -> Callable[[], object]:
    def call() -> object:
        raise error_from_response(WHERE, status, {}, f'{{"detail": "{detail}"}}'.encode())

    return call


def parse_a_refusal() -> object:
    said = AIMessage("I would rather not.")
    return StructuredOutputParser(target=None).parse_result([ChatGeneration(message=said)])


def fail_a_run() -> object:
    looks = finish("r1", {"poll_interval_sec": 1, "poll_timeout_sec": 1, "base_url": STUDIO})
    next(looks)
    return looks.send({"id": "r1", "status": "failed", "error": {"message": "No."}})


SITUATIONS: dict[type[errors.AI21Error], Callable[[], object]] = {
    errors.ConfigurationError: lambda: check_call({"temperature": 3}, "ChatAI21"),
    errors.MissingAPIKeyError: lambda: AI21Client().complete({"model": "m", "messages": []}),
    errors.UnsupportedContentError: lambda: to_wire([HumanMessage([{"type": "image_url"}])]),
    errors.DocumentError: lambda: load_documents([Path("no/such/file.txt")]),
    errors.StructuredOutputError: parse_a_refusal,
    errors.APIConnectionError: failing_with(httpx.ConnectError("no route")),
    errors.APITimeoutError: failing_with(httpx.ReadTimeout("too late")),
    errors.StreamInterruptedError: lambda: list(StreamReader(WHERE).close()),
    errors.ResponseFormatError: lambda: read_completion(b"<html>", WHERE),
    errors.RunFailedError: fail_a_run,
    errors.APIStatusError: answering(302),
    errors.BadRequestError: answering(400),
    errors.AuthenticationError: answering(401),
    errors.PermissionDeniedError: answering(403),
    errors.NotFoundError: answering(404),
    errors.RequestTimeoutError: answering(408),
    errors.UnprocessableEntityError: answering(422),
    errors.ContextLengthExceededError: answering(422, "Prompt has too many tokens"),
    errors.RateLimitError: answering(429),
    errors.InternalServerError: answering(500),
}

ROOTS = [errors.AI21Error, errors.APIError]
"""Classes to catch, which are not raised themselves."""

ELSEWHERE = [errors.MissingExtraError]
"""Raised in a test of its own, where an extra is missing."""


def raised(kind: type[errors.AI21Error]) -> errors.AI21Error:
    with pytest.raises(errors.AI21Error) as caught:
        SITUATIONS[kind]()
    return caught.value


all_situations = each("kind", SITUATIONS)


def test_every_error_has_a_situation() -> None:
    named = {getattr(errors, name) for name in errors.__all__}

    assert named == {*SITUATIONS, *ROOTS, *ELSEWHERE}
    assert errors.__all__ == sorted(errors.__all__, key=str.lower)


@all_situations
def test_every_error_is_raised_by_its_situation(kind: type[errors.AI21Error]) -> None:
    assert type(raised(kind)) is kind


def test_a_missing_extra_is_raised_where_the_extra_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n")
    monkeypatch.setitem(sys.modules, "pypdfium2", None)

    with pytest.raises(errors.MissingExtraError, match="pip install"):
        load_documents([tmp_path / "a.pdf"])


@all_situations
def test_every_error_is_one_line_without_a_key(kind: type[errors.AI21Error]) -> None:
    message = str(raised(kind))

    assert message
    assert "\n" not in message
    assert "test-key" not in message


LANGCHAIN = {
    errors.ConfigurationError: ("ModelInvalidRequestError", False),
    errors.MissingAPIKeyError: ("ModelAuthenticationError", False),
    errors.MissingExtraError: ("ModelInvalidRequestError", False),
    errors.UnsupportedContentError: ("ModelInvalidRequestError", False),
    errors.StructuredOutputError: ("OutputParserException", None),
    errors.APIConnectionError: ("ModelConnectionError", True),
    errors.APITimeoutError: ("ModelTimeoutError", True),
    errors.StreamInterruptedError: ("ModelConnectionError", True),
    errors.ResponseFormatError: ("ModelAPIError", False),
    errors.RunFailedError: ("ModelError", False),
    errors.APIStatusError: ("ModelError", False),
    errors.BadRequestError: ("ModelInvalidRequestError", False),
    errors.AuthenticationError: ("ModelAuthenticationError", False),
    errors.PermissionDeniedError: ("ModelPermissionDeniedError", False),
    errors.NotFoundError: ("ModelNotFoundError", False),
    errors.RequestTimeoutError: ("ModelTimeoutError", True),
    errors.UnprocessableEntityError: ("ModelInvalidRequestError", False),
    errors.ContextLengthExceededError: ("ContextOverflowError", False),
    errors.RateLimitError: ("ModelRateLimitError", True),
    errors.InternalServerError: ("ModelAPIError", True),
}


@each(
    ("kind", "name", "retryable"),
    [pytest.param(kind, *expected, id=kind.__name__) for kind, expected in LANGCHAIN.items()],
)
def test_langchain_knows_what_to_do_with_it(
    kind: type[errors.AI21Error], name: str, retryable: bool | None
) -> None:
    assert issubclass(kind, getattr(langchain_exceptions, name))
    assert getattr(kind, "is_retryable", None) is retryable


@each(
    ("kind", "builtin"),
    [
        (errors.ConfigurationError, ValueError),
        (errors.MissingExtraError, ImportError),
        (errors.DocumentError, ValueError),
        (errors.StructuredOutputError, ValueError),
    ],
)
def test_python_knows_it_too(kind: type[errors.AI21Error], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)


@each("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
@each("kind", [*SITUATIONS, *ROOTS, *ELSEWHERE])
def test_every_error_can_be_pickled_and_copied(
    kind: type[errors.AI21Error], again: Callable[[Exception], Exception]
) -> None:
    error = raised(kind) if kind in SITUATIONS else kind("It went wrong")

    copied = again(error)

    assert type(copied) is kind
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)


def test_what_is_known_of_the_response_survives_pickling() -> None:
    error = errors.RateLimitError(
        "slow down",
        status_code=429,
        response=httpx.Response(429, text="slow", request=httpx.Request("POST", URL)),
        request_id="req-7",
        body={"detail": "slow"},
        detail="slow",
        retry_after=2.5,
    )

    copied = pickle.loads(pickle.dumps(error))

    assert copied.response.status_code == 429
    assert copied.response.text == "slow"
    assert str(copied.response.request.url) == URL
    assert (copied.status_code, copied.request_id, copied.retry_after) == (429, "req-7", 2.5)
    assert (copied.body, copied.detail) == ({"detail": "slow"}, "slow")


def test_an_error_without_an_answer_says_so() -> None:
    error = errors.APIConnectionError("no route")

    assert (error.status_code, error.response, error.request_id) == (None, None, None)
    assert (error.body, error.detail, error.retry_after) == (None, "", None)


def test_a_structured_output_error_has_the_models_words_and_no_link() -> None:
    error = errors.StructuredOutputError("no call", llm_output="I cannot")

    assert str(error) == "no call"
    assert (error.llm_output, error.observation, error.send_to_llm) == ("I cannot", None, False)
