"""AI21's protocol: server-sent events, answers, and errors in every shape that servers send."""

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from ai21_chains._protocol import (
    as_event,
    encode,
    error_detail,
    error_from_response,
    quote,
    read_completion,
    read_event,
)
from ai21_chains._streams import EventDecoder, StreamReader
from ai21_chains._wire import Completion, JSONObject
from ai21_chains.errors import (
    AI21Error,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextLengthExceededError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseFormatError,
    StreamInterruptedError,
    UnprocessableEntityError,
)
from tests.cases import each

URL = "https://api.ai21.com/studio/v1/chat/completions"
WHERE = f"POST {URL}"


# --- Requests --------------------------------------------------------------------------------


def test_a_body_is_compact_json_in_utf8() -> None:
    body = encode({"model": "jamba-mini", "messages": [{"role": "user", "content": "Grüße 🙂"}]})

    assert body.decode() == (
        '{"model":"jamba-mini","messages":[{"role":"user","content":"Grüße 🙂"}]}'
    )


@each(
    ("value", "words"),
    [
        pytest.param(float("nan"), "float values", id="nan"),
        pytest.param(float("inf"), "float values", id="inf"),
        pytest.param({1, 2}, "type set is not JSON serializable", id="set"),
        pytest.param(object(), "type object is not JSON serializable", id="object"),
        pytest.param({(1, 2): 3}, "keys must be", id="tuple-as-key"),
        pytest.param("smile \ud83d", "half of a surrogate pair", id="lone-surrogate"),
    ],
)
def test_what_is_no_json_is_refused_before_sending(value: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        encode({"model": "jamba-mini", "extra": value})  # type: ignore[typeddict-unknown-key]


def test_a_structure_that_holds_itself_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)

    with pytest.raises(ConfigurationError, match="Circular reference"):
        encode({"model": "jamba-mini", "extra": circle})  # type: ignore[typeddict-unknown-key]


def test_a_lone_surrogate_is_found_by_the_text_before_it() -> None:
    with pytest.raises(ConfigurationError, match=r"It said: hello '\)"):
        encode({"user": "It said: hello \udc80"})


# --- Server-sent events ----------------------------------------------------------------------


def decoded(chunks: Sequence[bytes]) -> list[bytes]:
    decoder = EventDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.close()


def one_by_one(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


@each(
    ("raw", "events"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\n\n\r\n\r\r", [], id="blank-lines"),
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="lf"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"], id="crlf"),
        pytest.param(b"data: a\r\rdata: b\r\r", [b"a", b"b"], id="cr"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", [b"a", b"b", b"c"], id="mixed"),
        pytest.param(b"data:a\n\n", [b"a"], id="no-space"),
        pytest.param(b"data:  a \n\n", [b" a "], id="only-one-space-is-taken-off"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="two-lines"),
        pytest.param(b"data: a\ndata\ndata: b\n\n", [b"a\n\nb"], id="line-without-colon"),
        pytest.param(b": hello\n\n:\n\ndata: a\n: x\n\n", [b"a"], id="comments"),
        pytest.param(b"event: ping\nid: 1\nretry: 5\ndata: a\nx\n\n", [b"a"], id="other-fields"),
        pytest.param(b"event: ping\n\ndata: a\n\n", [b"a"], id="event-without-data"),
        pytest.param(b"data:\n\ndata\n\ndata: a\n\n", [b"a"], id="empty-data"),
        pytest.param(b"database: x\n data: y\ndata: a\n\n", [b"a"], id="names-alike"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="byte-order-mark"),
        pytest.param(b"data: \xef\xbb\xbfa\n\n", [b"\xef\xbb\xbfa"], id="mark-within"),
        pytest.param(b"data: a", [b"a"], id="no-line-end"),
        pytest.param(b"data: a\n", [b"a"], id="no-blank-line"),
        pytest.param(b"data: a\n\ndata: b\r", [b"a", b"b"], id="ends-with-cr"),
        pytest.param(
            "data: a\u2028b\x0bc\x85\n\n".encode(),
            ["a\u2028b\x0bc\x85".encode()],
            id="other-breaks",
        ),
    ],
)
def test_every_legal_form_is_read_however_the_bytes_are_split(
    raw: bytes, events: list[bytes]
) -> None:
    assert decoded([raw]) == events
    assert decoded(one_by_one(raw)) == events
    for at in range(len(raw) + 1):
        assert decoded([raw[:at], b"", raw[at:]]) == events


field_names = st.sampled_from(["data", "data", "data", "event", "id", "retry", "other", ""])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)
lines = st.one_of(
    st.just(""),
    st.tuples(field_names, st.sampled_from([":", ": ", ":  "]), texts).map("".join),
    st.sampled_from(["data", "event", "x"]),
)
streams = st.lists(st.tuples(lines, st.sampled_from(["\n", "\r", "\r\n"]))).map(
    lambda pairs: "".join(map("".join, pairs)).lstrip("\ufeff").encode()
)


@given(streams, st.lists(st.integers(min_value=0, max_value=200)))
def test_events_are_those_that_httpx_sse_reads(raw: bytes, cuts: list[int]) -> None:
    headers = {"content-type": "text/event-stream"}
    source = EventSource(httpx.Response(200, headers=headers, content=raw + b"\n\n"))
    expected = [event.data.encode() for event in source.iter_sse() if event.data.strip("\n")]
    borders = [0, *sorted(cuts), len(raw)]

    assert decoded([raw[a:b] for a, b in itertools.pairwise(borders)]) == expected


# --- Streams ---------------------------------------------------------------------------------


def sent(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def event(finish_reason: str | None = None, **delta: object) -> JSONObject:
    return {
        "id": "chat-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


DONE = b"data: [DONE]\n\n"
HELLO = event(content="Hello")
STOP = event(content="", finish_reason="stop")


def played(*chunks: bytes) -> Iterator[Completion]:
    reader = StreamReader(WHERE)
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.close()


def test_a_stream_is_its_events_up_to_done() -> None:
    reader = StreamReader(WHERE)

    assert (reader.started, reader.finished) == (False, False)
    assert list(reader.feed(sent(HELLO))) == [HELLO]
    assert (reader.started, reader.finished) == (True, False)
    assert list(reader.feed(sent(STOP))) == [STOP]
    assert (reader.started, reader.finished) == (True, True)
    assert list(reader.feed(DONE + sent(HELLO))) == []
    assert list(reader.feed(b"data: not JSON\n\n")) == []
    assert list(reader.close()) == []


@each(
    "raw",
    [
        pytest.param(sent(HELLO) + sent(STOP), id="no-done"),
        pytest.param(sent(HELLO) + sent(STOP).rstrip(), id="no-done-no-blank-line"),
        pytest.param(sent(HELLO) + sent(STOP) + DONE.rstrip(), id="done-without-blank-line"),
        pytest.param(sent(HELLO) + sent(STOP) + b"data:[DONE] \n\n", id="done-with-spaces"),
        pytest.param(sent(HELLO) + sent(STOP) + DONE + b"data: bye", id="words-after-done"),
        pytest.param(sent(HELLO) + sent(STOP) + b'data: {"cut', id="cut-after-the-end"),
        pytest.param(b": hi\n\n" + sent(HELLO) + b":\n\n" + sent(STOP) + DONE, id="comments"),
        pytest.param(
            b'event: ping\ndata: {"type":"ping"}\n\n' + sent(HELLO) + b"data:\n\n" + sent(STOP),
            id="pings",
        ),
    ],
)
def test_every_way_to_end_a_whole_stream_is_fine(raw: bytes) -> None:
    assert list(played(raw)) == [HELLO, STOP]
    assert list(played(*one_by_one(raw))) == [HELLO, STOP]


def test_done_ends_an_answer_that_has_no_finish_reason() -> None:
    assert list(played(sent(HELLO), DONE)) == [HELLO]


def test_usage_may_follow_the_finish_in_an_event_without_choices() -> None:
    usage = {"id": "chat-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    assert list(played(sent(HELLO), sent(STOP), sent(usage), DONE)) == [HELLO, STOP, usage]


@each(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b": hi\n\n", id="a-comment"),
        pytest.param(DONE, id="only-done"),
        pytest.param(sent(HELLO), id="no-finish-reason"),
        pytest.param(sent(HELLO) + b'data: {"id": "chat-1", "cho', id="cut-within-an-event"),
        pytest.param(sent(HELLO) + b"dat", id="cut-within-a-field"),
        pytest.param(b"Hello, I am a text file.", id="no-events-at-all"),
    ],
)
def test_a_stream_that_ends_too_soon_is_interrupted(raw: bytes) -> None:
    with pytest.raises(StreamInterruptedError, match="ended without a finish reason") as caught:
        list(played(raw))

    assert URL in str(caught.value)
    assert "Ask again" in str(caught.value)


def test_what_came_before_the_cut_is_delivered() -> None:
    events = played(sent(HELLO))

    assert next(events) == HELLO
    with pytest.raises(StreamInterruptedError):
        next(events)


@each(
    ("payload", "words"),
    [
        pytest.param({"error": {"message": "Engine died"}}, "Engine died", id="object"),
        pytest.param({"error": "Engine died"}, "Engine died", id="string"),
        pytest.param({"detail": "Engine died"}, "Engine died", id="detail"),
        pytest.param({"message": "Engine died"}, "Engine died", id="message"),
        pytest.param({"error": {"code": 500}}, '{"error": {"code": 500}}', id="no-words"),
        pytest.param({**HELLO, "error": {"message": "Engine died"}}, "Engine died", id="in-event"),
    ],
)
def test_an_error_in_the_stream_interrupts_it(payload: JSONObject, words: str) -> None:
    with pytest.raises(StreamInterruptedError) as caught:
        list(played(sent(HELLO), sent(payload)))

    assert str(caught.value) == f"The stream from {WHERE} broke off: {words}"
    assert words in caught.value.detail


@each("payload", [{"type": "ping"}, {}, {"choices": None}, {"error": None, "usage": None}])
def test_an_event_that_is_no_part_of_the_answer_is_passed_over(payload: JSONObject) -> None:
    assert read_event(json.dumps(payload).encode(), WHERE) is None


@each("given_", [event(content=None, tool_calls=None), event(reasoning_content="x"), event()])
def test_nulls_and_missing_keys_in_an_event_are_fine(given_: JSONObject) -> None:
    assert read_event(json.dumps(given_).encode(), WHERE) == given_


# --- Nonsense with status 200 ----------------------------------------------------------------


def answer(**message: object) -> JSONObject:
    return {"id": "chat-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def calling(call: object) -> JSONObject:
    return {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}, call]}


WRONG_CHOICES = [
    pytest.param({"a": 1}, "choices is an object, not a list", id="choices-object"),
    pytest.param("hello", "choices is a string, not a list", id="choices-string"),
    pytest.param(7, "choices is a whole number, not a list", id="choices-number"),
    pytest.param(True, "choices is true or false, not a list", id="choices-bool"),
    pytest.param([None], "choices[0].PART is null, not an object", id="choice-null"),
    pytest.param([[]], "choices[0].PART is a list, not an object", id="choice-list"),
    pytest.param([{}], "choices[0].PART is null, not an object", id="part-missing"),
    pytest.param([{"PART": None}], "choices[0].PART is null, not an object", id="part-null"),
    pytest.param([{"PART": "hi"}], "choices[0].PART is a string, not an object", id="part-string"),
    pytest.param([{"PART": {}}, 5], "choices[1].PART is a whole number", id="second-choice"),
    pytest.param(
        [{"PART": {}, "index": "0"}],
        "choices[0].index is a string, not a whole number",
        id="index-string",
    ),
    pytest.param(
        [{"PART": {}, "finish_reason": 1}],
        "choices[0].finish_reason is a whole number, not a string",
        id="finish-reason-number",
    ),
]

WRONG_MESSAGES = [
    pytest.param({"content": 5}, ".content is a whole number, not a string", id="content-number"),
    pytest.param({"content": ["hi"]}, ".content is a list, not a string", id="content-list"),
    pytest.param({"reasoning_content": 0.5}, ".reasoning_content is a number", id="reasoning"),
    pytest.param({"tool_calls": "f"}, ".tool_calls is a string, not a list", id="calls-string"),
    pytest.param({"tool_calls": {}}, ".tool_calls is an object, not a list", id="calls-object"),
    pytest.param(calling(None), ".tool_calls[1] is not a function call", id="call-null"),
    pytest.param(calling("f"), ".tool_calls[1] is not a function call", id="call-string"),
    pytest.param(calling({"function": "f"}), ".tool_calls[1] is not a", id="function-string"),
    pytest.param(calling({"function": ["f"]}), ".tool_calls[1] is not a", id="function-list"),
    pytest.param(calling({"function": {"name": 5}}), ".tool_calls[1].name is a", id="name-number"),
    pytest.param(calling({"index": [1]}), ".tool_calls[1].index is a list", id="call-index-list"),
    pytest.param(calling({"index": "0"}), ".tool_calls[1].index is a str", id="call-index-string"),
]


def in_place_of_part(value: object, part: str) -> str:
    return json.dumps(value).replace("PART", part)


@each(("choices", "problem"), WRONG_CHOICES)
def test_choices_of_the_wrong_type_are_named(choices: object, problem: str) -> None:
    for part, read in {"message": read_completion, "delta": read_event}.items():
        body = f'{{"choices": {in_place_of_part(choices, part)}}}'.encode()
        with pytest.raises(ResponseFormatError) as caught:
            read(body, WHERE)

        assert problem.replace("PART", part) in str(caught.value)


@each(("message", "problem"), WRONG_MESSAGES)
def test_messages_of_the_wrong_type_are_named(message: JSONObject, problem: str) -> None:
    with pytest.raises(ResponseFormatError) as whole:
        read_completion(json.dumps(answer(**message)).encode(), WHERE)
    with pytest.raises(ResponseFormatError) as piece:
        read_event(json.dumps(event(**message)).encode(), WHERE)

    assert f"choices[0].message{problem}" in str(whole.value)
    assert f"choices[0].delta{problem}" in str(piece.value)


@each(
    ("body", "problem"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b" \n", "it is empty", id="blank"),
        pytest.param(b"null", "a JSON object was expected, not null (null)", id="null"),
        pytest.param(b"[1, 2]", "a JSON object was expected, not a list ([1, 2])", id="list"),
        pytest.param(b'"hi"', "a JSON object was expected, not a string (hi)", id="string"),
        pytest.param(b"12", "a JSON object was expected, not a whole number (12)", id="number"),
        pytest.param(b"NaN", "a JSON object was expected, not a number (NaN)", id="nan"),
        pytest.param(b"9" * 5000, "it is not JSON (999", id="huge-number"),
        pytest.param(b"<html><h1>Sign in</h1></html>", "it is not JSON (Sign in)", id="html"),
        pytest.param(b"\xff\xfe\x00", "it is not JSON (", id="binary"),
        pytest.param(b"{'choices': []}", "it is not JSON ({'choices'", id="python"),
        pytest.param(b'{"choices": [', 'it is not JSON ({"choices": [)', id="cut-short"),
        pytest.param(b'{"choices": [' * 2000, "it is not JSON (", id="nested-too-deep"),
        pytest.param(b"{}", "choices is missing or empty ({})", id="no-choices"),
        pytest.param(b'{"choices": []}', "choices is missing or empty", id="empty-choices"),
        pytest.param(b'{"choices": null}', "choices is missing or empty", id="null-choices"),
        pytest.param(b'{"choices": 0}', "choices is missing or empty", id="zero-choices"),
        pytest.param(
            b'{"error": {"message": "Quota used up"}}',
            "choices is missing or empty (Quota used up)",
            id="error-with-status-200",
        ),
    ],
)
def test_what_is_no_answer_is_refused_in_one_line(body: bytes, problem: str) -> None:
    with pytest.raises(ResponseFormatError) as caught:
        read_completion(body, WHERE)

    message = str(caught.value)
    assert message.startswith(f"{WHERE} answered with something that is not AI21's format: ")
    assert problem in message
    assert message.endswith("Check base_url, and any proxy in between")
    assert "\n" not in message
    assert len(message) < 600


@each("depth", [100, 300, 900, 5000])
@each(("opening", "closing"), [("[", "]"), ('{"error":', "}"), ('{"choices":[', "]}")])
def test_depth_does_not_break_the_reader(depth: int, opening: str, closing: str) -> None:
    body = (opening * depth + "1" + closing * depth).encode()

    with pytest.raises(AI21Error):
        read_completion(body, WHERE)
    with pytest.raises(AI21Error):
        read_event(body, WHERE)


def test_an_answer_with_more_or_less_than_expected_is_fine() -> None:
    given_ = {"choices": [{"message": {"content": None, "audio": {}}, "x": 1}], "usage": "?"}

    assert read_completion(json.dumps(given_).encode(), WHERE) == given_


@each(
    ("content", "text"),
    [
        pytest.param(b"half an emoji: \\ud83d", "half an emoji: ?", id="lone-surrogate"),
        pytest.param(b"not UTF-8: \xff", "not UTF-8: \ufffd", id="not-utf8"),
        pytest.param(b"whole: \\ud83d\\ude42", "whole: 🙂", id="surrogate-pair"),
    ],
)
def test_damaged_characters_do_not_lose_the_answer(content: bytes, text: str) -> None:
    body = json.dumps(answer(content="TEXT")).encode().replace(b"TEXT", content)

    assert read_completion(body, WHERE)["choices"][0]["message"]["content"] == text


def test_a_byte_order_mark_does_not_lose_the_answer() -> None:
    body = b"\xef\xbb\xbf" + json.dumps(answer(content="Hi")).encode()

    assert read_completion(body, WHERE) == answer(content="Hi")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "delta",
                    "content",
                    "tool_calls",
                    "function",
                    "index",
                    "error",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(json_values | st.binary())
def test_whatever_arrives_is_read_or_refused(value: object) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    for read in (read_completion, read_event):
        with suppress(ResponseFormatError, StreamInterruptedError):
            read(body, WHERE)


def test_a_whole_answer_makes_one_event() -> None:
    call = {"id": "a", "index": None, "function": {"name": "f", "arguments": "{}"}}
    whole = answer(content="Hi", tool_calls=[call, call])

    made = as_event(read_completion(json.dumps(whole).encode(), WHERE))

    delta = made["choices"][0]["delta"]
    assert delta == {"content": "Hi", "tool_calls": [{**call, "index": 0}, {**call, "index": 1}]}
    assert made["choices"][0]["finish_reason"] == "stop"
    assert made["id"] == "chat-1"
    assert read_event(json.dumps(made).encode(), WHERE) == made


# --- Errors ----------------------------------------------------------------------------------

EXPLAINED = [
    pytest.param(b'{"detail": "Not Found"}', "Not Found", id="detail-string"),
    pytest.param(
        b'{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"x"},'
        b'{"loc":["body","n"],"msg":"too large"}]}',
        "body.messages.0: field required; body.n: too large",
        id="detail-list",
    ),
    pytest.param(b'{"detail":[{"msg":"no place"}]}', "no place", id="no-loc"),
    pytest.param(b'{"detail":[{"loc":"body","msg":"odd place"}]}', "odd place", id="loc-string"),
    pytest.param(b'{"detail":["a","b",null,""]}', "a; b", id="list-of-strings"),
    pytest.param(b'{"detail":{"msg":"nested"}}', "nested", id="detail-object"),
    pytest.param(b'{"error":{"message":"openai","code":1}}', "openai", id="error-object"),
    pytest.param(b'{"error":"ollama"}', "ollama", id="error-string"),
    pytest.param(b'{"error":{"error":{"message":"deep"}}}', "deep", id="nested-errors"),
    pytest.param(b'{"error":true,"message":"beside"}', "beside", id="error-flag"),
    pytest.param(b'{"message":"gateway"}', "gateway", id="message"),
    pytest.param(b'{"Message":"AWS"}', "AWS", id="message-of-aws"),
    pytest.param(b'{"Fault":"SOAP"}', '{"Fault":"SOAP"}', id="unknown-shape"),
    pytest.param(b'{"detail":[{"msg":5}]}', '{"detail":[{"msg":5}]}', id="msg-number"),
    pytest.param(b"{}", "{}", id="empty-object"),
    pytest.param(b"null", "null", id="null"),
    pytest.param(b"42", "42", id="number"),
    pytest.param(b'"words"', "words", id="json-string"),
    pytest.param(b"Internal Server Error", "Internal Server Error", id="plain-text"),
    pytest.param(b"", "no explanation", id="empty"),
    pytest.param(b" \r\n ", "no explanation", id="blank"),
    pytest.param(b"two\nlines\x00\x1b[31m", "two lines [31m", id="control-characters"),
    pytest.param(b"caf\xe9", "caf\ufffd", id="not-utf8"),
    pytest.param(b'\xef\xbb\xbf{"detail": "marked"}', '{"detail": "marked"}', id="mark"),
    pytest.param(
        b"<!DOCTYPE html><html><head><style>b {c: d}</style><SCRIPT>x()</SCRIPT></head>"
        b"<body><h1>502 Bad\nGateway</h1><!-- padding --><hr/>nginx</body></html>",
        "502 Bad Gateway nginx",
        id="html",
    ),
    pytest.param(b"<html></html>", "no explanation", id="html-without-words"),
    pytest.param(b"Sorry<style>never {closed", "Sorry", id="html-cut-short"),
    pytest.param(b"x" * 2_000_000, "x" * 300 + "…", id="huge"),
]


@each(("body", "words"), EXPLAINED)
def test_an_error_is_one_line_with_status_words_url_and_what_to_do(body: bytes, words: str) -> None:
    error = error_from_response(WHERE, 503, {}, body)

    assert str(error) == (
        f"503 Service Unavailable from {WHERE}: {words}. The fault is the server's: try again later"
    )
    assert error.status_code == 503


@each("body", [b"<a" * 500_000, b"<!--" * 250_000, b"<script" * 150_000])
def test_a_hostile_page_takes_no_time(body: bytes) -> None:
    error = error_from_response(WHERE, 500, {}, body)

    assert len(str(error)) < 600


@each(
    ("status", "kind", "phrase"),
    [
        (302, APIStatusError, "302 Found"),
        (400, BadRequestError, "400 Bad Request"),
        (401, AuthenticationError, "401 Unauthorized"),
        (402, BadRequestError, "402 Payment Required"),
        (403, PermissionDeniedError, "403 Forbidden"),
        (404, NotFoundError, "404 Not Found"),
        (405, BadRequestError, "405 Method Not Allowed"),
        (408, RequestTimeoutError, "408 Request Timeout"),
        (409, BadRequestError, "409 Conflict"),
        (413, BadRequestError, "413 "),
        (422, UnprocessableEntityError, "422 "),
        (429, RateLimitError, "429 Too Many Requests"),
        (499, BadRequestError, "499 from"),
        (500, InternalServerError, "500 Internal Server Error"),
        (503, InternalServerError, "503 Service Unavailable"),
        (529, InternalServerError, "529 from"),
        (600, APIStatusError, "600 from"),
    ],
)
def test_each_status_has_its_class(status: int, kind: type[APIStatusError], phrase: str) -> None:
    error = error_from_response(WHERE, status, {}, b'{"detail": "No."}')

    assert type(error) is kind
    assert str(error).startswith(phrase)
    assert f"from {WHERE}: No. {kind.hint}" in str(error)
    assert error.detail == "No."
    assert error.body == {"detail": "No."}


@each("status", [400, 413, 422, 500])
@each(
    "words",
    [
        "Prompt has too many tokens: 300000",
        "This model's maximum context length is 4096 tokens",
        "The context window is full",
        "context_length_exceeded",
        "prompt is too long",
    ],
)
def test_a_prompt_that_is_too_long_has_its_class(status: int, words: str) -> None:
    error = error_from_response(WHERE, status, {}, json.dumps({"detail": words}).encode())

    assert type(error) is ContextLengthExceededError
    assert "Shorten the messages" in str(error)


@each(
    ("status", "kind", "words"),
    [
        (429, RateLimitError, "Too many tokens per minute, please wait"),
        (403, PermissionDeniedError, "Your plan has no models with this context window"),
        (503, InternalServerError, "Overloaded: too many tokens in flight"),
    ],
)
def test_other_limits_are_not_mistaken_for_it(
    status: int, kind: type[APIStatusError], words: str
) -> None:
    assert type(error_from_response(WHERE, status, {}, words.encode())) is kind


def test_a_retired_model_is_named_with_its_successor() -> None:
    body = b'{"detail": "The provided model is not supported. See https://docs.ai21.com"}'

    error = error_from_response(WHERE, 422, {}, body, model="jamba-1.5-mini")

    assert str(error).endswith("AI21 retired jamba-1.5-mini on 2025-05-06; use jamba-mini")


@each(("model", "detail"), [("my-own", "is not supported"), ("jamba-1.5-mini", "messages: empty")])
def test_another_422_keeps_the_usual_hint(model: str, detail: str) -> None:
    error = error_from_response(WHERE, 422, {}, json.dumps({"detail": detail}).encode(), model)

    assert str(error).endswith("Change what the server names")


@each(
    ("value", "seconds", "words"),
    [
        ("7", 7.0, "The server asks to wait 7 s"),
        ("0.25", 0.25, "The server asks to wait 0.25 s"),
        ("never", None, ""),
    ],
)
def test_the_wait_that_the_server_asks_for_is_told(
    value: str, seconds: float | None, words: str
) -> None:
    error = error_from_response(WHERE, 429, {"retry-after": value}, b"")

    assert error.retry_after == seconds
    assert words in str(error)


@each("header", ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id"])
def test_the_request_id_is_told(header: str) -> None:
    error = error_from_response(WHERE, 500, {"x-request-id": "", header: "req-7"}, b"")

    assert error.request_id == "req-7"
    assert str(error).endswith("Request id req-7")


def test_a_redirect_says_where_to_and_keeps_the_query_to_itself() -> None:
    headers = {"location": "https://login.example/sign-in?token=secret"}

    error = error_from_response(WHERE, 307, headers, b"")

    assert "it redirects to https://login.example/sign-in. Check that base_url" in str(error)
    assert "secret" not in str(error)


@given(json_values)
def test_words_are_found_in_whatever_shape(value: object) -> None:
    assert isinstance(error_detail(value), str)


@each(
    ("words", "line"),
    [
        ("", ""),
        ("  a \n\t b\u2028c  ", "a b c"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 300 + "…"),
        ("a\x00b\x1b[1mc\x9bd", "a b [1mc d"),
    ],
)
def test_a_quote_is_one_line_of_printable_text(words: str, line: str) -> None:
    assert quote(words) == line
