"""Google Vertex AI: tokens of a service account, checked by a server that knows its key."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from google.auth import credentials, exceptions
from google.oauth2 import service_account

from ai21_chains import ChatAI21
from ai21_chains.errors import (
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
    MissingAPIKeyError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from ai21_chains.hosts import Vertex
from tests.cases import each
from tests.servers import calls, vertex
from tests.servers.calls import Call
from tests.servers.scripted import ScriptedServer, answer, completion, scripted, stream
from tests.servers.vertex import MINI, Google

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


class Token(credentials.Credentials):
    """Credentials with a clock of the test's own, which count how often they are renewed."""

    def __init__(self, token: str | None = None, error: Exception | None = None) -> None:
        super().__init__()
        self.token = token
        self.error = error
        self.threads: list[threading.Thread] = []

    def refresh(self, request: Any) -> None:
        if self.error is not None:
            raise self.error
        self.threads.append(threading.current_thread())
        self.token = f"ya29.renewed-{len(self.threads)}"
        self.expiry = None

    def run_out(self) -> None:
        self.expiry = datetime(2001, 1, 1)


@pytest.fixture(scope="module")
def robot() -> tuple[dict[str, str], bytes]:
    return vertex.service_account("filled in below")


@pytest.fixture(scope="module")
def another_key() -> bytes:
    return vertex.service_account("")[1]


@pytest.fixture
def google(robot) -> Google:
    return Google(public=robot[1])


@pytest.fixture
def server(google: Google) -> Iterator[ScriptedServer]:
    with scripted(google) as running:
        yield running


@pytest.fixture
def key_file(server: ScriptedServer, robot, tmp_path: Path, monkeypatch) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps({**robot[0], "token_uri": f"http://127.0.0.1:{server.port}/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


in_each_way = each("call", calls.CALLED)


def chat(server: ScriptedServer, host: dict[str, Any] | None = None, **settings: Any) -> ChatAI21:
    there = {"endpoint": f"http://127.0.0.1:{server.port}", **(host or {})}
    return ChatAI21(host=Vertex(**there), **{"model": MINI, "max_retries": 0, **settings})


def asked(server: ScriptedServer) -> list[str]:
    return [request.target for request in server.requests if request.target != "/token"]


# --- Requests --------------------------------------------------------------------------------


@in_each_way
def test_application_default_credentials_ask_a_model(call: Call, server, key_file) -> None:
    server.requests.clear()
    message = call(chat(server))

    assert message.content == "Hello"
    assert message.usage_metadata["total_tokens"] == 5
    assert server.requests[1].body == {"messages": [{"role": "user", "content": "Hi"}]}
    verb = "streamRawPredict" if call in calls.CALLED[2:] else "rawPredict"
    assert asked(server) == [
        "/v1/projects/project-of-the-key/locations/us-central1/publishers/ai21/models/"
        f"{MINI}:{verb}"
    ]


def test_a_service_account_can_be_passed_in(server, key_file, monkeypatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    given = service_account.Credentials.from_service_account_file(str(key_file), scopes=SCOPES)

    assert chat(server, {"google_credentials": given}).invoke("Hi").content == "Hello"


@in_each_way
@each(("lifetime", "tokens"), [(3600, 1), (60, 3)])
def test_a_token_is_renewed_when_it_is_about_to_expire(
    call: Call, server, google, key_file, lifetime: int, tokens: int
) -> None:
    google.issued.clear()
    google.lifetime = lifetime
    model = chat(server)

    assert [call(model).content for _ in range(3)] == ["Hello"] * 3
    assert len(google.issued) == tokens


async def test_renewing_does_not_block_the_event_loop_and_happens_once(server, google) -> None:
    token = Token("ya29.first")
    google.taken |= {"ya29.first", "ya29.renewed-1"}
    model = chat(server, {"google_credentials": token, "project": "project-of-the-key"})
    await model.ainvoke("Hi")
    assert token.threads == []

    token.run_out()
    await asyncio.gather(*(model.ainvoke("Hi") for _ in range(5)))

    assert len(token.threads) == 1
    assert token.threads[0] is not threading.main_thread()
    assert [request.key for request in server.requests] == ["ya29.first"] + ["ya29.renewed-1"] * 5


def test_the_project_that_pays_for_the_quota_is_told(server, google, key_file) -> None:
    given = service_account.Credentials.from_service_account_file(str(key_file), scopes=SCOPES)
    model = chat(server, {"google_credentials": given.with_quota_project("payer")})
    model.invoke("Hi")

    assert server.requests[1].header("x-goog-user-project") == ["payer"]


@each(
    ("settings", "address"),
    [
        (
            {},
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/"
            "publishers/ai21/models/jamba-1.5-mini@001:rawPredict",
        ),
        (
            {"location": "global"},
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/"
            "publishers/ai21/models/jamba-1.5-mini@001:rawPredict",
        ),
        (
            {"location": "europe-west4", "endpoint_id": "123"},
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/"
            "endpoints/123:rawPredict",
        ),
    ],
    ids=["default", "global", "dedicated"],
)
def test_the_address_is_that_of_the_location(settings: dict[str, Any], address: str) -> None:
    host = Vertex(project="p", google_credentials=Token("t"), **settings)

    assert host.url({"model": MINI}, host.credentials()) == address


def test_a_models_name_cannot_leave_its_place_in_the_address() -> None:
    host = Vertex(project="p", google_credentials=Token("t"))

    url = host.url({"model": "../../x?y#z"}, host.credentials())
    assert url.endswith("/models/..%2F..%2Fx%3Fy%23z:rawPredict")


def test_tools_are_called(server, google, key_file) -> None:
    google.whole = vertex.TOOL_CALL
    message = chat(server).invoke("Hi")

    assert message.tool_calls[0]["args"] == {"word": "Jamba"}
    assert message.content == " Sure, let me check that for you."


# --- Errors ----------------------------------------------------------------------------------


@in_each_way
def test_a_token_that_google_does_not_take_is_not_in_the_error(call: Call, server) -> None:
    server.requests.clear()
    given = {"google_credentials": Token("ya29.revoked-token"), "project": "project-of-the-key"}
    with pytest.raises(AuthenticationError, match="gcloud auth application-default") as caught:
        call(chat(server, given, max_retries=2))

    assert len(server.requests) == 1
    shown = f"{caught.value} {caught.value.detail} {caught.value.body}"
    assert "ya29.revoked-token" not in shown


@in_each_way
def test_an_assertion_that_is_signed_by_another_key_is_refused(
    call: Call, server, google, key_file, another_key
) -> None:
    server.requests.clear()
    google.public = another_key
    with pytest.raises(MissingAPIKeyError) as caught:
        call(chat(server))

    assert str(caught.value) == (
        "Google's credentials for Vertex AI cannot be had: invalid_grant: Invalid JWT Signature. "
        "Try `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
    )
    assert asked(server) == []


@in_each_way
@each(
    ("settings", "kind", "message"),
    [
        ({"project": "another"}, PermissionDeniedError, "the role Vertex AI User"),
        ({"location": "mars-west1"}, NotFoundError, "Check model .* project and location"),
    ],
    ids=["project", "location"],
)
def test_what_google_refuses_says_what_to_check(
    call: Call, server, key_file, settings: dict[str, Any], kind: type, message: str
) -> None:
    server.requests.clear()
    with pytest.raises(kind, match=message) as caught:
        call(chat(server, settings, max_retries=2))

    assert len(asked(server)) == 1
    assert "AI21" not in str(caught.value)


@in_each_way
def test_an_unknown_model_is_named(call: Call, server, key_file) -> None:
    with pytest.raises(NotFoundError, match=r"Publisher Model .*jamba-9.* was not found"):
        call(chat(server, model="jamba-9"))


@in_each_way
def test_throttling_is_tried_again(call: Call, server, google) -> None:
    server.requests.clear()
    busy = vertex.refuses("429 Too Many Requests", "RESOURCE_EXHAUSTED", "Quota exceeded.")
    given = {"google_credentials": Token("t-0123456789"), "project": "project-of-the-key"}
    google.taken.add("t-0123456789")
    with scripted(busy, google) as server:
        assert call(chat(server, given, max_retries=1)).content == "Hello"
    with scripted(busy) as server, pytest.raises(RateLimitError, match="Quota exceeded"):
        call(chat(server, given, max_retries=1))
    assert len(server.requests) == 2


def test_errors_in_a_list_are_read_as_google_streams_them(server) -> None:
    words = [{"error": {"code": 500, "message": "Internal error encountered.", "status": "X"}}]
    given = {"google_credentials": Token("t"), "project": "p"}
    with (
        scripted(answer(words, "500 Internal Server Error")) as server,
        pytest.raises(InternalServerError, match="Internal error encountered"),
    ):
        calls.streamed(chat(server, given))


def test_a_whole_answer_to_a_streamed_request_is_taken(server) -> None:
    given = {"google_credentials": Token("t"), "project": "p"}
    with scripted(answer(completion("Hello"))) as server:
        assert calls.streamed(chat(server, given)).content == "Hello"


@in_each_way
@each(
    ("settings", "kind", "message"),
    [
        (
            {},
            MissingAPIKeyError,
            "Google's credentials for Vertex AI cannot be had: Your default credentials were not",
        ),
        (
            {"google_credentials": Token("t")},
            ConfigurationError,
            "Vertex: there is no project: pass project=…, or set GOOGLE_CLOUD_PROJECT",
        ),
        (
            {
                "google_credentials": Token(error=exceptions.RefreshError("Reauthenticate.", {})),
                "project": "p",
            },
            MissingAPIKeyError,
            "Google's credentials for Vertex AI cannot be had: Reauthenticate. Try `gcloud",
        ),
    ],
    ids=["none", "no-project", "not-renewed"],
)
def test_without_a_token_nothing_is_sent(call: Call, settings, kind, message: str) -> None:
    with pytest.raises(kind) as caught:
        call(ChatAI21(model=MINI, host=Vertex(**settings)))

    assert type(caught.value) is kind
    assert str(caught.value).startswith(message)


@each(
    ("settings", "message"),
    [
        ({"project": "a/b"}, "Vertex: project should look like 'my-project-123', got 'a/b'"),
        ({"location": "us central"}, "Vertex: location should look like 'us-central1'"),
        ({"endpoint_id": "1:x"}, "Vertex: endpoint_id should look like"),
        ({"endpoint": "x"}, "Vertex: endpoint should be an address such as"),
    ],
    ids=["project", "location", "endpoint_id", "endpoint"],
)
def test_arguments_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Vertex(**settings)


# --- Secrets ---------------------------------------------------------------------------------


def test_nothing_that_is_shown_or_kept_holds_credentials(server, google, key_file) -> None:
    model = chat(server)
    model.invoke("Hi")
    kept = pickle.dumps(model)

    shown = repr(model) + repr(model.host) + model.model_dump_json()
    for secret in (google.issued[0], "PRIVATE KEY"):
        assert secret not in shown
        assert secret.encode() not in kept
    assert pickle.loads(kept).invoke("Hi").content == "Hello"


def test_credentials_are_not_pickled(server) -> None:
    with pytest.raises(ConfigurationError, match="with google_credentials cannot be pickled"):
        pickle.dumps(chat(server, {"google_credentials": Token("t")}))


def test_a_stream_that_breaks_off_is_not_asked_for_again(server) -> None:
    given = {"google_credentials": Token("t"), "project": "p"}
    half = stream(vertex.ROLE, vertex.event("Hel"))
    with scripted(half) as server, pytest.raises(Exception, match="without a finish reason"):
        calls.streamed(chat(server, given, max_retries=2))
    assert len(server.requests) == 1
