"""Amazon Bedrock: each request is signed as a server of our own recomputes it with botocore."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError
from langchain_core.utils.function_calling import convert_to_openai_tool

from ai21_chains import ChatAI21
from ai21_chains.client import AI21Client
from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    MissingAPIKeyError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseFormatError,
    StreamInterruptedError,
)
from ai21_chains.hosts import Bedrock
from ai21_chains.llms import AI21LLM
from tests.cases import each
from tests.servers import aws, calls
from tests.servers.aws import HELLO, MINI, Account, chunk, delta, exception, frame
from tests.servers.calls import Call
from tests.servers.scripted import (
    Received,
    ScriptedServer,
    answer,
    completion,
    scripted,
    stream,
)

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCY", "IQoJb3JpZ2luX2VjEJr//token"


class Session:
    """What is asked of a session: credentials and settings."""

    def __init__(self, credentials: Any = None, region: str | None = "us-east-1") -> None:
        self.credentials = credentials or Credentials(KEY, SECRET, TOKEN)
        self.region = region

    def get_credentials(self) -> Any:
        return self.credentials

    def get_config_variable(self, name: str) -> Any:
        return {"region": self.region}[name]


@pytest.fixture
def account() -> Account:
    account = Account()
    account.add(KEY, SECRET, TOKEN)
    return account


@pytest.fixture
def server(account: Account) -> Iterator[ScriptedServer]:
    with scripted(account) as running:
        yield running


in_each_way = each("call", calls.CALLED)


def look_up(word: str) -> str:
    """Look up a word."""
    return word


def bedrock(server: ScriptedServer, **settings: Any) -> Bedrock:
    given = {"session": Session()} if "profile" not in settings else {}
    return Bedrock(endpoint=f"http://127.0.0.1:{server.port}", **{**given, **settings})


def chat(server: ScriptedServer, host: Bedrock | None = None, **settings: Any) -> ChatAI21:
    given = {"model": MINI, "max_retries": 0, **settings}
    return ChatAI21(host=host or bedrock(server), **given)


# --- Requests --------------------------------------------------------------------------------


@in_each_way
def test_a_request_is_signed_and_answered(call: Call, server) -> None:
    server.requests.clear()
    assert call(chat(server)).content == "Hello"

    [request] = server.requests
    assert request.target.endswith(
        "/invoke-with-response-stream" if call in calls.CALLED[2:] else "/invoke"
    )
    assert request.body == {"messages": [{"role": "user", "content": "Hi"}]}
    assert request.header("x-amz-security-token") == [TOKEN]


@in_each_way
def test_credentials_without_a_session_token_sign_too(call: Call, server, account) -> None:
    server.requests.clear()
    account.add("AK2", "another secret")
    host = bedrock(server, session=Session(Credentials("AK2", "another secret")))

    assert call(chat(server, host)).content == "Hello"
    assert server.requests[0].header("x-amz-security-token") == []


@in_each_way
@each(
    ("model", "quoted"),
    [
        (MINI, "ai21.jamba-1-5-mini-v1%3A0"),
        ("us.ai21.jamba-1-5-large-v1:0", "us.ai21.jamba-1-5-large-v1%3A0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.ai21.jamba-1-5-mini-v1:0",
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F"
            "us.ai21.jamba-1-5-mini-v1%3A0",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc~d e/ü",
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aprovisioned-model%2F"
            "abc~d%20e%2F%C3%BC",
        ),
    ],
    ids=["model", "profile", "profile-arn", "odd-arn"],
)
def test_ids_profiles_and_arns_are_quoted_and_signed(call: Call, server, account, model, quoted):
    server.requests.clear()
    account.models = (model,)

    assert call(chat(server, model=model)).content == "Hello"
    assert server.requests[0].target.split("/")[2] == quoted


@in_each_way
def test_text_of_any_kind_is_signed(call: Call, server) -> None:
    assert call(chat(server), "שלום – \u2028 é 🙂").content == "Hello"


@in_each_way
def test_all_that_can_be_asked_goes_into_the_body(call: Call, server) -> None:
    server.requests.clear()
    model = chat(
        server,
        temperature=0.5,
        top_p=0.9,
        max_tokens=10,
        stop=["x"],
        documents=["a"],
        default_headers={"X-Team": "a"},
        model_kwargs={"frequency_penalty": 1},
        seed=1,  # which AI21's models ignore
        user="u",
    )
    call(model)

    assert server.bodies[0] == {
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 10,
        "stop": ["x"],
        "documents": [{"content": "a", "metadata": {}}],
        "frequency_penalty": 1,
    }
    assert server.requests[0].header("x-team") == ["a"]


def test_the_address_is_that_of_the_region() -> None:
    def address(region: str, **body: Any) -> str:
        host = Bedrock(session=Session(), region=region)
        return host.url({"model": MINI, **body}, host.credentials())

    assert address("us-east-1") == (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/ai21.jamba-1-5-mini-v1%3A0/invoke"
    )
    assert address("eu-west-3", stream=True) == (
        "https://bedrock-runtime.eu-west-3.amazonaws.com/model/ai21.jamba-1-5-mini-v1%3A0/"
        "invoke-with-response-stream"
    )
    assert address("cn-north-1").startswith("https://bedrock-runtime.cn-north-1.amazonaws.com.cn/")


def test_completions_go_to_bedrock_too(server) -> None:
    llm = AI21LLM(model=MINI, host=bedrock(server))

    assert llm.invoke("Hi") == "Hello"
    assert "".join(llm.stream("Hi")) == "Hello"


# --- Answers ---------------------------------------------------------------------------------


@each("by_byte", [False, True], ids=["frames", "bytes"])
def test_usage_of_a_stream_is_that_of_the_metrics(server, account, by_byte: bool) -> None:
    account.by_byte = by_byte
    message = calls.streamed(chat(server))

    assert message.usage_metadata == {
        "input_tokens": 63,
        "output_tokens": 263,
        "total_tokens": 326,
    }
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["model_name"] == MINI


def test_metrics_may_be_in_the_last_event_of_the_answer(server, account) -> None:
    last = {
        "id": "chat-1",
        "choices": [{"index": 0, "delta": {"content": "o"}, "finish_reason": "stop"}],
        "amazon-bedrock-invocationMetrics": aws.METRICS,
    }
    account.frames = (delta(content="Hell"), chunk(last))

    message = calls.astreamed(chat(server))
    assert message.content == "Hello"
    assert message.usage_metadata["total_tokens"] == 326


def test_usage_without_metrics_is_that_of_the_model(server, account) -> None:
    account.frames = HELLO[:-1]

    assert calls.streamed(chat(server)).usage_metadata["total_tokens"] == 158


def test_a_stream_may_be_cut_anywhere() -> None:
    whole = b"".join(HELLO)
    at_once = list(Bedrock().decoder().feed(whole))
    for cut in range(len(whole) + 1):
        decoder = Bedrock().decoder()
        found = [*decoder.feed(whole[:cut]), *decoder.feed(whole[cut:]), *decoder.close()]
        assert found == at_once

    assert [json.loads(data).get("usage") for data in at_once] == [
        {"prompt_tokens": 44, "total_tokens": 44, "completion_tokens": 0},
        None,
        {"prompt_tokens": 144, "total_tokens": 158, "completion_tokens": 14},
        {"prompt_tokens": 63, "completion_tokens": 263, "total_tokens": 326},
    ]


def test_each_damaged_byte_is_noticed() -> None:
    for at in range(len(HELLO[1])):
        damaged = bytearray(HELLO[1])
        damaged[at] ^= 0x55
        with pytest.raises(StreamInterruptedError, match="from Amazon Bedrock is damaged"):
            list(Bedrock().decoder().feed(bytes(damaged)))


def test_frames_that_say_nothing_are_passed_over(server, account) -> None:
    ping = frame(b"", event_type="ping", message_type="event")
    initial = frame(b"{}", event_type="initial-response", message_type="event")
    account.frames = (initial, ping, *HELLO[:2], ping, *HELLO[2:])

    assert calls.streamed(chat(server)).content == "Hello"


@in_each_way
def test_tools_are_called(call: Call, server, account) -> None:
    server.requests.clear()
    function = {"name": "look_up", "arguments": '{"word": "Jamba"}'}
    account.whole = completion(
        None, "tool_calls", tool_calls=[{"id": "c-1", "type": "function", "function": function}]
    )
    account.frames = (
        delta(role="assistant"),
        delta(tool_calls=[{"index": 0, "id": "c-1", "function": {"name": "look_up"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"word": '}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '"Jamba"}'}}]),
        delta("tool_calls", content=""),
        HELLO[3],
    )
    message = call(chat(server).bind_tools([look_up], tool_choice="any"))

    assert message.tool_calls == [
        {"name": "look_up", "args": {"word": "Jamba"}, "id": "c-1", "type": "tool_call"}
    ]
    assert "tool_choice" not in server.bodies[0]
    assert "at least one of the tools" in server.bodies[0]["messages"][0]["content"]
    assert server.bodies[0]["tools"] == [convert_to_openai_tool(look_up)]


def test_tools_that_cannot_be_streamed_are_asked_for_whole(server, account) -> None:
    refusal = aws.refuses("400 Bad Request", "ValidationException", "No streaming with tools.")
    with scripted(refusal, account) as server:
        message = calls.streamed(chat(server).bind_tools([look_up]))

    assert message.content == "Hello"
    assert [r.target.rpartition("/")[2] for r in server.requests] == [
        "invoke-with-response-stream",
        "invoke",
    ]


# --- Credentials -----------------------------------------------------------------------------


@in_each_way
def test_credentials_come_from_the_environment(call: Call, server, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    assert call(chat(server, bedrock(server, session=None))).content == "Hello"


def test_credentials_and_region_come_from_a_profile(
    server, account, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "c").write_text("[team]\naws_access_key_id = AK3\naws_secret_access_key = s3\n")
    (tmp_path / "r").write_text("[profile team]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "c"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "r"))
    account.add("AK3", "s3")
    account.region = "eu-central-1"

    assert chat(server, bedrock(server, profile="team")).invoke("Hi").content == "Hello"


@in_each_way
@each(("minutes", "renewed"), [(60, False), (5, True)])
def test_credentials_of_a_role_are_renewed_before_they_expire(
    call: Call, server, account, monkeypatch, minutes: int, renewed: bool
) -> None:
    server.requests.clear()

    def role(request: Received) -> Any:
        number = len(container.requests)
        account.add(f"ROLE{number}", "role secret", f"token {number}")
        return answer(
            {
                "AccessKeyId": f"ROLE{number}",
                "SecretAccessKey": "role secret",
                "Token": f"token {number}",
                "Expiration": (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(),
            }
        )

    with scripted(role) as container:
        address = f"http://127.0.0.1:{container.port}/role"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
        model = chat(server, bedrock(server, session=None, region="us-east-1"))
        assert [call(model).content for _ in range(3)] == ["Hello"] * 3

    tokens = [request.header("x-amz-security-token")[0] for request in server.requests]
    assert len(set(tokens)) == (3 if renewed else 1)
    assert len(container.requests) >= len(set(tokens))


async def test_renewing_does_not_block_the_event_loop(server, account) -> None:
    now = datetime.now(UTC)
    clock = SimpleNamespace(now=now)
    threads = []
    for number in (1, 2):
        account.add(f"AK{number}", "s", f"t{number}")

    def renew() -> dict[str, str]:
        threads.append(threading.current_thread())
        return {
            "access_key": "AK2",
            "secret_key": "s",
            "token": "t2",
            "expiry_time": (clock.now + timedelta(hours=1)).isoformat(),
        }

    first = RefreshableCredentials(
        "AK1", "s", "t1", now + timedelta(hours=1), renew, "test", time_fetcher=lambda: clock.now
    )
    model = chat(server, bedrock(server, session=Session(first)))
    await model.ainvoke("Hi")
    assert threads == []

    clock.now = now + timedelta(hours=2)
    await asyncio.gather(model.ainvoke("Hi"), model.ainvoke("Hi"))
    await model.ainvoke("Hi")

    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    tokens = [request.header("x-amz-security-token")[0] for request in server.requests]
    assert tokens == ["t1", "t2", "t2", "t2"]


@in_each_way
def test_an_api_key_of_bedrocks_is_sent_as_it_is(call: Call, monkeypatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-123")

    with scripted(answer(completion("Hello"))) as server:
        host = bedrock(server, session=None, region="us-east-1")
        assert call(chat(server, host)).content == "Hello"
    assert server.requests[0].key == "bedrock-api-key-123"


@in_each_way
@each(
    ("settings", "kind", "message"),
    [
        (
            {"region": "us-east-1"},
            MissingAPIKeyError,
            "There are no AWS credentials for Amazon Bedrock: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, name a profile, or run where a role is attached",
        ),
        (
            {"session": Session(region=None)},
            ConfigurationError,
            "Bedrock: there is no region: pass region='us-east-1', or set AWS_REGION",
        ),
        (
            {"session": Session(region="mars-1")},
            ConfigurationError,
            "Bedrock: AWS has no region 'mars-1'; they look like 'us-east-1'",
        ),
        (
            {"profile": "nobody", "region": "us-east-1"},
            MissingAPIKeyError,
            "The AWS credentials for Amazon Bedrock cannot be had: ProfileNotFound: The config "
            "profile (nobody) could not be found. Check the profile, or sign in again",
        ),
    ],
    ids=["no-credentials", "no-region", "unknown-region", "unknown-profile"],
)
def test_what_cannot_be_signed_is_not_sent(call: Call, settings, kind, message: str) -> None:
    with pytest.raises(kind) as caught:
        call(ChatAI21(model=MINI, host=Bedrock(**settings)))

    assert type(caught.value) is kind
    assert str(caught.value) == message


@in_each_way
def test_credentials_that_cannot_be_renewed_are_one_line(call: Call) -> None:
    class Gone(Credentials):
        def get_frozen_credentials(self) -> Any:
            raise CredentialRetrievalError(provider="iam-role", error_msg="Gone")

    with pytest.raises(
        MissingAPIKeyError, match=r"CredentialRetrievalError: .* from iam-role: Gone"
    ):
        call(ChatAI21(model=MINI, host=Bedrock(session=Session(Gone("a", "b")))))


@in_each_way
def test_names_of_studio_are_refused(call: Call) -> None:
    with pytest.raises(ConfigurationError, match=r"an id looks like 'ai21.jamba-1-5-mini-v1:0'"):
        call(ChatAI21(host=Bedrock(session=Session())))


@each(
    ("settings", "message"),
    [
        ({"endpoint": "nowhere"}, "Bedrock: endpoint should be an address such as"),
        ({"endpoint": "https://u:p@x"}, "without credentials"),
        ({"session": Session(), "profile": "a"}, "pass session or profile, not both"),
    ],
    ids=["no-address", "password", "two-sources"],
)
def test_arguments_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Bedrock(**settings)


# --- Errors ----------------------------------------------------------------------------------

ERRORS = [
    ("400 Bad Request", "ValidationException", BadRequestError, 1),
    ("403 Forbidden", "AccessDeniedException", PermissionDeniedError, 1),
    ("403 Forbidden", "UnrecognizedClientException", AuthenticationError, 1),
    ("403 Forbidden", "InvalidSignatureException", AuthenticationError, 1),
    ("403 Forbidden", "ExpiredTokenException", AuthenticationError, 1),
    ("404 Not Found", "ResourceNotFoundException", NotFoundError, 1),
    ("408 Request Timeout", "ModelTimeoutException", RequestTimeoutError, 1),
    ("424 Failed Dependency", "ModelErrorException", InternalServerError, 1),
    ("429 Too Many Requests", "ThrottlingException", RateLimitError, 3),
    ("429 Too Many Requests", "ModelNotReadyException", RateLimitError, 3),
    ("400 Bad Request", "ServiceQuotaExceededException", RateLimitError, 1),
    ("500 Internal Server Error", "InternalServerException", InternalServerError, 3),
    ("503 Service Unavailable", "ServiceUnavailableException", InternalServerError, 3),
]


@in_each_way
@each(("status", "name", "kind", "tries"), ERRORS, ids=[e[1] for e in ERRORS])
def test_errors_have_their_class_and_are_tried_again_where_it_costs_nothing(
    call: Call, status: str, name: str, kind: type[APIError], tries: int
) -> None:
    with (
        scripted(aws.refuses(status, name, "It is so.")) as server,
        pytest.raises(kind) as caught,
    ):
        call(chat(server, max_retries=2))

    assert type(caught.value) is kind
    assert len(server.requests) == tries
    assert caught.value.is_retryable is (kind in (RateLimitError, InternalServerError))
    assert caught.value.detail == "It is so."
    assert caught.value.request_id == "req-1"
    assert "\n" not in str(caught.value)
    assert "AI21" not in str(caught.value)


@in_each_way
def test_each_try_is_signed_anew(call: Call, account) -> None:
    busy = aws.refuses("429 Too Many Requests", "ThrottlingException", "Slow down.")
    with scripted(busy, busy, account) as server:
        assert call(chat(server, max_retries=2)).content == "Hello"
    assert all(len(request.header("authorization")) == 1 for request in server.requests)


def test_aws_writes_message_with_a_capital_too(server) -> None:
    words = "User: arn:aws:iam::1:user/a is not authorized to perform: bedrock:InvokeModel"
    refusal = aws.refuses("403 Forbidden", "AccessDeniedException", words, key="Message")
    with scripted(refusal) as server, pytest.raises(PermissionDeniedError) as caught:
        chat(server).invoke("Hi")

    assert caught.value.detail == words


@in_each_way
@each(
    ("change", "words"),
    [
        (lambda account: account.keys.clear(), "The security token included in the request is inv"),
        (lambda account: account.expired.add(KEY), "The security token included in the request is"),
        (lambda account: account.add(KEY, "other", TOKEN), "does not match"),
    ],
    ids=["unknown", "expired", "wrong-secret"],
)
def test_wrong_credentials_are_one_line_without_a_secret(
    call: Call, account: Account, change, words: str
) -> None:
    known = replace(account, keys=dict(account.keys), expired=set())
    change(known)
    with scripted(known) as server, pytest.raises(AuthenticationError, match=words) as caught:
        call(chat(server, max_retries=2))

    error = caught.value
    assert len(server.requests) == 1
    assert "`aws sts get-caller-identity` says who they are" in str(error)
    shown = f"{error} {error.detail} {error.body} {error.response.text}"
    assert [secret for secret in (SECRET, TOKEN) if secret in shown] == []


@in_each_way
def test_an_unknown_model_is_named(call: Call, server) -> None:
    with pytest.raises(BadRequestError) as caught:
        call(chat(server, model="ai21.jamba-9-v1:0"))

    assert "The provided model identifier is invalid" in str(caught.value)
    assert "its ids look like 'ai21.jamba-1-5-mini-v1:0'" in str(caught.value)


IN_STREAM = [
    ("throttlingException", RateLimitError, 3),
    ("validationException", BadRequestError, 1),
    ("internalServerException", InternalServerError, 3),
    ("serviceUnavailableException", InternalServerError, 3),
    ("modelTimeoutException", RequestTimeoutError, 1),
    ("modelStreamErrorException", InternalServerError, 1),
]


async def no_wait(seconds: float) -> None:
    pass


@each("ask", calls.STREAMED)
@each(("name", "kind", "tries"), IN_STREAM, ids=[e[0] for e in IN_STREAM])
def test_an_error_at_the_start_of_a_stream_is_like_one_before_it(
    ask: calls.Ask, name: str, kind: type[APIError], tries: int
) -> None:
    script = stream(exception(name, "It is so."), head=aws.STREAMED)
    with scripted(script) as server:
        client = AI21Client(host=bedrock(server), sleep=lambda _: None, async_sleep=no_wait)
        with pytest.raises(kind) as caught:
            ask(client, model=MINI)

    assert type(caught.value) is kind
    assert len(server.requests) == tries
    assert "It is so" in str(caught.value)


@each("together", [False, True])
def test_an_error_in_a_stream_comes_after_what_was_said(server, account, together: bool) -> None:
    server.requests.clear()
    frames = (delta(content="Hel"), exception("throttlingException", "Slow down."))
    account.frames = (b"".join(frames),) if together else frames
    said = []
    with pytest.raises(StreamInterruptedError, match="broke off: Slow down") as caught:
        said.extend(piece.content for piece in chat(server, max_retries=2).stream("Hi"))

    assert said == ["Hel"]
    assert len(server.requests) == 1
    assert caught.value.detail == "Slow down."


def test_an_error_frame_without_a_payload_is_told(server, account) -> None:
    words = {"error_code": "InternalError", "error_message": "Oops", "message_type": "error"}
    account.frames = (frame(b"", **words),)

    with pytest.raises(InternalServerError, match="InternalError: Oops"):
        calls.streamed(chat(server))


@each("call", calls.CALLED[2:])
@each(
    "frames",
    [(HELLO[1],), (HELLO[1], HELLO[2][:-1]), (HELLO[1], HELLO[2][:-1] + b"\0")],
    ids=["ended", "cut", "damaged"],
)
def test_half_an_answer_is_not_taken_for_a_whole_one(call: Call, server, account, frames) -> None:
    server.requests.clear()
    account.frames = frames

    with pytest.raises(StreamInterruptedError):
        call(chat(server, max_retries=2))
    assert len(server.requests) == 1


def test_a_metrics_frame_that_is_cut_off_loses_no_answer(server, account) -> None:
    account.frames = (*HELLO[:3], HELLO[3][:-5])

    message = calls.streamed(chat(server))
    assert message.content == "Hello"
    assert message.usage_metadata["total_tokens"] == 158


@in_each_way
def test_a_server_that_is_not_there_is_one_line(call: Call) -> None:
    host = Bedrock(session=Session(), endpoint="http://127.0.0.1:9")

    with pytest.raises(APIConnectionError, match=r"failed: .*\. Check region, the network and any"):
        call(ChatAI21(model=MINI, host=host, max_retries=0))


def test_awss_own_client_is_answered_the_same(server) -> None:
    client = botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        aws_session_token=TOKEN,
    )
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}, separators=(",", ":"))
    whole = client.invoke_model(modelId=MINI, body=body, contentType="application/json")
    parts = client.invoke_model_with_response_stream(modelId=MINI, body=body)
    read = [json.loads(part["chunk"]["bytes"]) for part in parts["body"]]
    client.close()
    model = chat(server)

    assert json.loads(whole["body"].read()) == completion("Hello")
    assert read[3] == {"amazon-bedrock-invocationMetrics": aws.METRICS}
    assert model.invoke("Hi").content == calls.streamed(model).content == "Hello"
    theirs, ours = server.requests[:2], server.requests[2:]
    assert [request.target for request in theirs] == [request.target for request in ours]
    assert [request.content for request in theirs] == [request.content for request in ours]


@in_each_way
def test_something_else_than_bedrock_is_noticed(call: Call) -> None:
    with (
        scripted(answer(b"<html>Sign in</html>", headers=["content-type: text/html"])) as server,
        pytest.raises(ResponseFormatError, match="Check region, and any proxy"),
    ):
        call(chat(server))


# --- Secrets ---------------------------------------------------------------------------------


def test_nothing_that_is_shown_or_kept_holds_credentials(server, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    model = chat(server, bedrock(server, session=None, region="us-east-1"))
    model.invoke("Hi")

    kept = pickle.dumps(model)
    shown = repr(model) + repr(model.host) + model.model_dump_json()
    assert [s for s in (KEY, SECRET, TOKEN) if s in shown or s.encode() in kept] == []
    assert pickle.loads(kept).invoke("Hi").content == "Hello"


def test_a_session_is_not_pickled(server) -> None:
    with pytest.raises(ConfigurationError, match="Bedrock with session cannot be pickled"):
        pickle.dumps(chat(server))
