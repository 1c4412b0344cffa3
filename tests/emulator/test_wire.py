"""AI21's answers, byte for byte, through every door."""

import json
import re
import uuid

import httpx
import pytest

from ai21_chains.emulator import Emulator, Reply, ToolCall, scripted
from tests.cases import each
from tests.emulator.doors import through_each_door

ID = uuid.UUID("12345678-1234-4234-8234-123456789abc")
CALL = ToolCall("get_weather", {"city": "Zürich"})


def fixed(*replies, **settings):
    return Emulator(brain=scripted(*replies), new_id=lambda: ID, **settings)


def events(answer):
    lines = answer.body.decode().split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


@through_each_door
def test_an_answer_is_compact_json_with_ai21s_keys_in_ai21s_order(door, chat):
    answer = door(fixed("Grüezi"))(chat())

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.decode() == (
        '{"id":"chatcmpl-12345678-1234-4234-8234-123456789abc","choices":[{"index":0,"message":'
        '{"role":"assistant","content":"Grüezi","tool_calls":null},"logprobs":null,'
        '"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":2,'
        '"total_tokens":13}}'
    )


@through_each_door
def test_a_stream_is_role_then_content_then_an_empty_last_event_with_usage(door, chat):
    answer = door(fixed("Hello you"))(chat(stream=True))

    head = 'data: {"id": "chatcmpl-12345678-1234-4234-8234-123456789abc", "choices": '
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body.decode() == (
        f'{head}[{{"index": 0, "delta": {{"role": "assistant"}}, "logprobs": null, '
        '"finish_reason": null}]}\n\n'
        f'{head}[{{"index": 0, "delta": {{"content": "Hello"}}, "logprobs": null, '
        '"finish_reason": null}]}\n\n'
        f'{head}[{{"index": 0, "delta": {{"content": " you"}}, "logprobs": null, '
        '"finish_reason": null}]}\n\n'
        f'{head}[{{"index": 0, "delta": {{"content": ""}}, "logprobs": null, '
        '"finish_reason": "stop"}], "usage": {"prompt_tokens": 11, "completion_tokens": 3, '
        '"total_tokens": 14}}\n\n'
        "data: [DONE]\n\n"
    )


def test_a_stream_keeps_one_chunk_for_each_event_where_there_is_no_socket(chat):
    client = httpx.Client(transport=fixed("Hello you").transport())
    headers = {"Authorization": "Bearer k"}
    url = "https://api.ai21.com/studio/v1/chat/completions"
    with client.stream("POST", url, headers=headers, json=chat(stream=True)) as response:
        chunks = list(response.iter_raw())

    assert len(chunks) == 5
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in chunks)


@through_each_door
def test_a_tool_call_has_null_content_and_arguments_as_json_text(door, chat):
    answer = door(fixed(Reply(tool_calls=[CALL])))(chat())

    choice = answer.json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"chatcmpl-tool-{ID.hex}",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Zürich"}'},
            }
        ],
    }


@through_each_door
def test_a_streamed_tool_call_sends_the_name_first_and_the_arguments_in_fragments(door, chat):
    second = ToolCall("now", {}, id="mine")
    answer = door(fixed(Reply(tool_calls=[CALL, second])))(chat(stream=True))

    deltas = [event["choices"][0]["delta"] for event in events(answer)]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert deltas[0] == {"role": "assistant"}
    assert calls[0] == {
        "id": f"chatcmpl-tool-{ID.hex}",
        "index": 0,
        "type": "function",
        "function": {"name": "get_weather"},
    }
    assert [call["function"]["arguments"] for call in calls[1:4]] == ['{"city"', ': "Züri', 'ch"}']
    assert calls[4]["id"] == "mine"
    assert calls[5] == {"index": 1, "function": {"arguments": "{}"}}
    assert events(answer)[-1]["choices"][0]["finish_reason"] == "tool_calls"


@through_each_door
def test_usage_stands_only_in_the_last_event(door, chat):
    answer = door(Emulator())(chat(stream=True))

    assert ["usage" in event for event in events(answer)].index(True) == len(events(answer)) - 1


@through_each_door
def test_a_stream_says_the_same_as_an_answer(door, chat):
    send = door(Emulator())
    streamed = events(send(chat("こんにちは, how are you?", stream=True)))
    whole = send(chat("こんにちは, how are you?")).json

    text = "".join(event["choices"][0]["delta"].get("content", "") for event in streamed)
    assert text == whole["choices"][0]["message"]["content"]
    assert streamed[-1]["usage"] == whole["usage"]


@through_each_door
def test_ids_are_new_for_every_answer_and_in_ai21s_form(door, chat):
    send = door(Emulator(brain=lambda request: Reply(tool_calls=[CALL])))
    answers = [send(chat()).json for _ in range(2)]

    ids = [answer["id"] for answer in answers]
    call_ids = [answer["choices"][0]["message"]["tool_calls"][0]["id"] for answer in answers]
    assert len({*ids, *call_ids}) == 4
    assert all(re.fullmatch(r"chatcmpl-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", i) for i in ids)
    assert all(re.fullmatch(r"chatcmpl-tool-[0-9a-f]{32}", i) for i in call_ids)


@through_each_door
def test_the_model_is_never_echoed(door, chat):
    answer = door(Emulator())(chat(model="jamba-large-1.7"))

    assert b"jamba" not in answer.body


@through_each_door
def test_n_asks_the_brain_for_as_many_choices(door, chat):
    answer = door(fixed("one", "two"))(chat(n=2, temperature=0.7))

    choices = answer.json["choices"]
    assert [(c["index"], c["message"]["content"]) for c in choices] == [(0, "one"), (1, "two")]
    assert answer.json["usage"]["completion_tokens"] == 2


@through_each_door
def test_text_ends_before_the_first_stop_sequence(door, chat):
    send = door(fixed(*["one two three"] * 3))

    assert send(chat(stop="two")).message["content"] == "one "
    assert send(chat(stop=["three", "two", ""])).message["content"] == "one "
    assert send(chat(stop=["two"])).json["choices"][0]["finish_reason"] == "stop"


@through_each_door
@each("stream", [False, True])
def test_text_ends_at_max_tokens_with_the_reason_length(door, chat, stream):
    answer = door(fixed("abcdefghijkl"))(chat(max_tokens=2, stream=stream))

    choice = events(answer)[-1]["choices"][0] if stream else answer.json["choices"][0]
    assert choice["finish_reason"] == "length"
    assert b"abcdefgh" in answer.body
    assert b"abcdefghi" not in answer.body


@through_each_door
def test_nothing_is_longer_than_ai21s_own_limit(door, chat):
    answer = door(fixed("word " * 10_000))(chat())

    assert answer.json["usage"]["completion_tokens"] == 4096


@through_each_door
def test_reasoning_is_part_of_the_message_only_when_there_is_some(door, chat):
    send = door(fixed(Reply("4", reasoning_content="2 + 2"), Reply("4", reasoning_content="2 + 2")))
    whole, streamed = send(chat()), send(chat(stream=True))

    assert whole.message["reasoning_content"] == "2 + 2"
    deltas = [event["choices"][0]["delta"] for event in events(streamed)]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "2 + 2"


@through_each_door
def test_a_reply_may_say_its_own_finish_reason(door, chat):
    answer = door(fixed(Reply("no", finish_reason="content_filter")))(chat())

    assert answer.json["choices"][0]["finish_reason"] == "content_filter"


@through_each_door
def test_the_prompt_is_counted_with_jambas_template_near_a_real_count(door, chat):
    messages = [
        {"role": "system", "content": "You are an assistant for the company Coca Cola"},
        {"role": "user", "content": "allo"},
        {"role": "assistant", "content": "Hello! How can I assist you today?"},
        {"role": "user", "content": "what is Coca Cola"},
    ]
    usage = door(Emulator())(chat(messages=messages)).json["usage"]

    assert usage["prompt_tokens"] == pytest.approx(40, abs=4)  # AI21's own server counted 40
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@through_each_door
def test_tools_and_documents_count_as_part_of_the_prompt(door, chat):
    send = door(Emulator())
    bare = send(chat()).json["usage"]["prompt_tokens"]
    more = send(chat(documents=[{"content": "word " * 80}])).json["usage"]["prompt_tokens"]

    assert more >= bare + 100


@through_each_door
def test_models_are_listed_with_their_seven_keys(door):
    answer = door(Emulator())(path="/models", method="GET")

    rows = answer.json["data"]
    assert list(answer.json) == ["data"]
    assert [row["id"] for row in rows] == [
        "jamba-mini",
        "jamba-large",
        "jamba-large-1.7",
        "jamba-large-1.7-2025-07",
        "jamba-mini-2",
        "jamba-mini-2-2026-01",
    ]
    assert set(rows[0]) == {
        "id",
        "name",
        "updated",
        "context_length",
        "quantization",
        "max_completion_tokens",
        "pricing",
    }
    assert all(isinstance(price, str) for price in rows[0]["pricing"].values())


@through_each_door
def test_models_without_a_key_are_an_empty_list(door):
    answer = door(Emulator())(path="/models", method="GET", key=None)

    assert (answer.status, answer.body) == (200, b'{"data":[]}')


@through_each_door
def test_every_request_is_logged(door, chat):
    emulator = Emulator()
    door(emulator)(chat("log me"), key="secret")

    (request,) = emulator.requests
    assert request.method == "POST"
    assert request.path == "/studio/v1/chat/completions"
    assert request.headers["authorization"] == request.headers["Authorization"] == "Bearer secret"
    assert request.json["messages"][0]["content"] == "log me"
    assert json.loads(request.body) == request.json


@through_each_door
@each(("keep", "kept"), [(0, []), (2, ["two", "three"]), (9, ["one", "two", "three"])])
def test_the_log_keeps_the_latest_requests_if_so_asked(door, chat, keep, kept):
    emulator = Emulator(keep_requests=keep)
    ask = door(emulator)
    for text in ("one", "two", "three"):
        ask(chat(text))

    assert [one.json["messages"][0]["content"] for one in emulator.requests] == kept


@through_each_door
def test_a_request_whose_body_is_no_json_is_logged_with_none(door):
    emulator = Emulator()
    door(emulator)(content=b"{")

    assert emulator.requests[0].json is None
