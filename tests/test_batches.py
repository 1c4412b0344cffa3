"""Batches: from inputs to rows, and from rows back to answers in the inputs' order."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from ai21_chains import ChatAI21
from ai21_chains._batches import MOST_BYTES, MOST_ROWS, check_lines, check_size
from ai21_chains._cost import cost
from ai21_chains.batches import AI21Batch, BatchStatus, abatch_invoke, batch_invoke
from ai21_chains.emulator import Emulator, EmulatorError, Fault, Reply, ToolCall
from ai21_chains.emulator.batches import Batches
from ai21_chains.errors import (
    AI21Error,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    RateLimitError,
    ResponseFormatError,
    UnprocessableEntityError,
)
from tests.cases import each
from tests.servers.calls import DONE, Do
from tests.servers.scripted import CUT, RESET, Received, answer, completion, fails, scripted

ENDPOINT = "/v1/chat/completions"
QUICK: dict[str, Any] = {"poll_interval_sec": 0.001}

Invoke = Callable[..., list[Any]]


def shout(request: dict[str, Any]) -> str:
    said: str = request["messages"][-1]["content"]
    if said == "fail":
        raise EmulatorError("nothing to say")
    return said.upper()


def invoke(model: Any, inputs: Any, /, **options: Any) -> list[Any]:
    return batch_invoke(model, inputs, **{**QUICK, **options})


def ainvoke(model: Any, inputs: Any, /, **options: Any) -> list[Any]:
    return asyncio.run(abatch_invoke(model, inputs, **{**QUICK, **options}))


INVOKED = (invoke, ainvoke)


@pytest.fixture(params=[invoke, ainvoke], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Invoke:
    return request.param


def on(emulator: Emulator, **settings: Any) -> ChatAI21:
    transport = emulator.transport()
    return ChatAI21(
        api_key="k-0123456789abc",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
        **settings,
    )


def at(server: Any, **settings: Any) -> ChatAI21:
    return ChatAI21(base_url=server.url, api_key="k-0123456789abc", **settings)


def sent(emulator: Emulator) -> list[dict[str, Any]]:
    """The rows of the last batch."""
    uploads = [one for one in emulator.requests if one.path.endswith("/batches")]
    return [json.loads(row) for row in uploads[-1].form.files["file"].content.splitlines()]


def said(results: list[Any]) -> list[Any]:
    return [one.content if isinstance(one, AIMessage) else type(one) for one in results]


# --- From inputs to rows ---------------------------------------------------------------------


@each("ask", INVOKED)
def test_each_kind_of_input_that_a_model_takes_is_a_row(ask: Invoke) -> None:
    emulator = Emulator(brain=shout)
    prompt = ChatPromptTemplate.from_messages([("system", "s"), ("user", "{x}")])
    inputs = [
        "one",
        [HumanMessage("two")],
        [("system", "be brief"), ("user", "three")],
        [{"role": "user", "content": "four"}],
        prompt.invoke({"x": "five"}),
    ]

    results = ask(on(emulator, model="jamba-large"), iter(inputs), temperature=0)

    assert said(results) == ["ONE", "TWO", "THREE", "FOUR", "FIVE"]
    rows = sent(emulator)
    assert rows[2] == {
        "custom_id": "row-2",
        "method": "POST",
        "url": ENDPOINT,
        "body": {
            "model": "jamba-large",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "three"},
            ],
            "temperature": 0,
        },
    }
    assert emulator.requests[0].form.fields == {"endpoint": [ENDPOINT]}


@each("ask", INVOKED)
def test_options_come_from_the_model_from_bindings_and_from_the_call(ask: Invoke) -> None:
    emulator = Emulator(brain=shout)
    model = on(emulator, temperature=0.1, max_tokens=5, top_p=0.5)
    bound = model.bind(max_tokens=6, top_p=0.6).with_config(tags=["t"]).bind(top_p=0.7, stop=["!"])

    (result,) = ask(bound, ["hi"], stop=["?"], model="jamba-large")

    body = sent(emulator)[0]["body"]
    chosen = {name: body[name] for name in ("temperature", "max_tokens", "top_p", "stop", "model")}
    assert chosen == {
        "temperature": 0.1,
        "max_tokens": 6,
        "top_p": 0.7,
        "stop": ["?"],
        "model": "jamba-large",
    }
    assert result.response_metadata["model_name"] == "jamba-large"


@each("ask", INVOKED)
def test_tools_are_sent_and_their_calls_come_back(ask: Invoke) -> None:
    def weather(city: str) -> str:
        """Look up the weather."""
        return city

    emulator = Emulator(brain=lambda _: Reply(tool_calls=[ToolCall("weather", {"city": "Haifa"})]))

    (result,) = ask(on(emulator).bind_tools([weather]), ["hi"])

    assert sent(emulator)[0]["body"]["tools"][0]["function"]["name"] == "weather"
    assert result.tool_calls[0]["args"] == {"city": "Haifa"}


@each(
    ("model", "inputs", "options", "words"),
    [
        ({}, [], {}, "at least one input"),
        ({}, "one input", {}, r"inputs should be a list of inputs: \[input\]"),
        ({}, {"a": 1}, {}, "inputs should be a list"),
        ({}, 7, {}, "inputs should be a list"),
        ({}, ["a", ["b", 7]], {}, r"inputs\[1\] is no input of a model: Unsupported"),
        ({}, ["a", 7], {}, r"inputs\[1\] is no input of a model"),
        ({}, ["a", []], {}, r"inputs\[1\]: messages is empty"),
        (
            {},
            [[HumanMessage([{"type": "image", "url": "x"}])]],
            {},
            r"inputs\[0\]: .* type 'image'",
        ),
        ({"model": "jamba-1.5-mini"}, ["a"], {}, "retired it on 2025-05-06; use jamba-mini"),
        ({"model": "j2-ultra"}, ["a"], {}, "cannot use j2-ultra.*use jamba-large"),
        ({}, ["a"], {"temprature": 1}, "Did you mean 'temperature'"),
        ({}, ["a"], {"temperature": 3}, "temperature should be less"),
        ({}, ["a"], {"poll_interval_sec": 0}, "poll_interval_sec should be above 0"),
        ({}, ["a"], {"poll_timeout_sec": -1}, "poll_timeout_sec should be above 0"),
        ({}, ["a"] * (MOST_ROWS + 1), {}, "at most 50,000 rows, got 50,001; split it"),
    ],
)
def test_what_cannot_be_a_batch_is_refused_before_anything_is_sent(
    model: Any, inputs: Any, options: Any, words: str
) -> None:
    emulator = Emulator()
    with pytest.raises(ConfigurationError, match=words) as caught:
        invoke(on(emulator, **model), inputs, **options)

    assert not emulator.requests
    assert "\n" not in str(caught.value)


def test_a_batch_that_is_too_large_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at most 200,000,000 bytes, got 200,000,001; spl"):
        check_size(1, MOST_BYTES + 1)

    check_size(MOST_ROWS, MOST_BYTES)


@each("ask", INVOKED)
@each("model", [RunnableLambda(str), "jamba-mini"])
def test_only_our_models_have_batches(ask: Invoke, model: Any) -> None:
    with pytest.raises(ConfigurationError, match="A batch needs a ChatAI21"):
        ask(model, ["a"])


# --- From rows back to answers ---------------------------------------------------------------


@each("ask", INVOKED)
def test_answers_are_messages_with_their_usage(ask: Invoke) -> None:
    (result,) = ask(on(Emulator(brain=shout)), ["hi"])

    assert isinstance(result, AIMessage)
    assert result.usage_metadata is not None
    assert result.usage_metadata["output_tokens"] == 1
    assert result.response_metadata["finish_reason"] == "stop"
    assert cost(result) > 0


@each("ask", INVOKED)
def test_a_row_that_fails_costs_no_other_one(ask: Invoke) -> None:
    results = ask(on(Emulator(brain=shout, pending_looks=2)), ["a", "fail", "b", "fail", "c"])

    assert said(results) == ["A", BadRequestError, "B", BadRequestError, "C"]
    assert "from row 1 of batch" in str(results[1])
    assert "Emulator: nothing to say" in str(results[1])
    assert results[1].status_code == 400


@each("ask", INVOKED)
def test_the_first_error_is_raised_if_that_is_wanted_and_says_where_the_others_are(
    ask: Invoke,
) -> None:
    emulator = Emulator(brain=shout)
    with pytest.raises(BadRequestError, match="row 1 of") as caught:
        ask(on(emulator), ["a", "fail", "b"], return_exceptions=False)

    batch_id = emulator.requests[-1].path.split("/")[-2]
    assert f"The other rows are kept: AI21Batch(model, '{batch_id}').results()" in str(caught.value)
    assert said(ask(on(emulator), ["a"], return_exceptions=False)) == ["A"]


@each("ask", INVOKED)
def test_a_model_that_the_server_does_not_know_fails_in_its_rows(ask: Invoke) -> None:
    (result,) = ask(on(Emulator()), ["a"], model="jamba-next")

    assert isinstance(result, UnprocessableEntityError)
    assert "model is not supported" in str(result)


@each("ask", INVOKED)
@each("end", ["EXPIRED", "STALE"])
def test_a_batch_that_ends_early_keeps_the_rows_that_were_done(ask: Invoke, end: str) -> None:
    emulator = Emulator(brain=shout, pending_looks=1)
    emulator.state(Batches).ends_as = end

    results = ask(on(emulator), ["a", "fail", "c", "d"])

    assert said(results) == ["A", BadRequestError, APIError, APIError]
    assert "There is no answer to row 2 of batch" in str(results[2])
    assert f"which is {end}. Submit this input again" in str(results[2])


@each("ask", INVOKED)
def test_a_batch_that_fails_as_a_whole_has_an_error_for_each_row(ask: Invoke) -> None:
    emulator = Emulator()
    emulator.state(Batches).ends_as = "FAILED"

    assert said(ask(on(emulator), ["a", "b"])) == [APIError, APIError]


@each("ask", INVOKED)
def test_progress_is_told_at_each_look(ask: Invoke) -> None:
    told: list[BatchStatus] = []

    ask(on(Emulator(brain=shout, pending_looks=2)), list("abc"), progress=told.append)

    assert [one.request_counts.completed for one in told] == [1, 2, 3]
    assert [one.has_ended for one in told] == [False, False, True]
    assert str(told[0]) == f"Batch {told[0].id}: PROCESSING, 1 of 3 rows done, 0 failed"


@each("ask", INVOKED)
def test_a_batch_is_one_request_a_few_looks_and_one_download(ask: Invoke) -> None:
    emulator = Emulator(brain=shout, pending_looks=1)

    ask(on(emulator), [str(number) for number in range(100)])

    assert [one.method for one in emulator.requests] == ["POST", "GET", "GET", "GET"]


@each("ask", INVOKED)
def test_answers_that_come_in_another_order_are_put_in_order(ask: Invoke) -> None:
    rows = [(2, "c"), (0, "a"), (1, "b")]
    with serving(*(result(place, completion(text)) for place, text in rows)) as server:
        assert said(ask(at(server), ["?", "?", "?"])) == ["a", "b", "c"]


# --- A server that is not as we think ---------------------------------------------------------


def result(place: Any, body: Any = None, status: int | None = 200, **more: Any) -> dict[str, Any]:
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"custom_id": f"row-{place}", "response": response, "error": None, **more}


def serving(*rows: Any, status: str = "COMPLETED", counts: Any = None) -> Any:
    """A server that has one batch, with these rows in its output file."""
    batch = {"id": "b1", "status": status, "request_counts": counts}
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]

    def respond(request: Received) -> Any:
        if "/results" not in request.target:
            return answer(batch)
        if "file_type=error" in request.target:
            return fails("404 Not Found")
        return answer(b"\n".join(lines))

    return scripted(respond)


WHOLE = completion("ok")


@each("ask", INVOKED)
@each(
    "row",
    [
        {"custom_id": "row-0", "response": {"status_code": 200, "body": WHOLE}},
        {"custom_id": "row-0", "response": {"body": WHOLE}},
        {"custom_id": "row-0", "response": WHOLE},
        {"custom_id": "row-0", "body": WHOLE},
        {"custom_id": "row-0", **WHOLE},
        b'\r\n{"custom_id": "other", \r\n' + json.dumps(result(0, WHOLE)).encode() + b"\r\n\r\n[]",
    ],
)
def test_an_answer_is_read_in_whatever_form_it_comes(ask: Invoke, row: Any) -> None:
    with serving(row) as server:
        assert said(ask(at(server), ["a"])) == ["ok"]


@each("ask", INVOKED)
@each(
    ("row", "kind", "words"),
    [
        (result(0, {"detail": "Slow down"}, 429), RateLimitError, "Slow down"),
        (result(0, None, 500), APIStatusError, "500 Internal Server Error from row 0 of batch b1"),
        (result(0, None, 422, error={"message": "Too long"}), UnprocessableEntityError, "Too long"),
        ({"custom_id": "row-0", "error": {"message": "Bad row"}}, APIError, "Bad row"),
        ({"custom_id": "row-0", "response": None, "error": "Bad row"}, APIError, "Bad row"),
        ({"custom_id": "row-0", "response": {"detail": "Bad row"}}, APIError, "Bad row"),
        (result(0, {"choices": []}), ResponseFormatError, "row 0 of batch b1 answered with"),
        (result(0, "text"), APIError, "could not do row 0 of batch b1: text"),
        (b"{", APIError, "There is no answer to row 0 of batch b1, which is COMPLETED"),
        (result(7, WHOLE), APIError, "There is no answer to row 0 of batch b1, which is COMPLETED"),
    ],
)
def test_whatever_is_wrong_with_a_row_is_its_error(
    ask: Invoke, row: Any, kind: type[AI21Error], words: str
) -> None:
    with serving(row, result(1, WHOLE)) as server:
        failed, fine = ask(at(server), ["a", "b"])

    assert type(failed) is kind or (kind is APIStatusError and isinstance(failed, kind))
    assert words in str(failed)
    assert "\n" not in str(failed)
    assert fine.content == "ok"


@each("ask", INVOKED)
@each(
    ("body", "words"),
    [
        ({"status": "PENDING"}, "not AI21's format: id: Field required"),
        ({"id": "b"}, "status: Field required"),
        ([], "not AI21's format: Input should be"),
        (None, "not AI21's format"),
    ],
)
def test_what_is_no_batch_is_an_error(ask: Invoke, body: Any, words: str) -> None:
    with scripted(answer(body)) as server, pytest.raises(ResponseFormatError, match=words):
        ask(at(server), ["a"])


@each("ask", INVOKED)
def test_a_status_that_nobody_knows_is_waited_for(ask: Invoke) -> None:
    open_, done = ({"id": "b1", "status": status} for status in ("FINALIZING", "COMPLETED"))
    row = answer(json.dumps(result(0, WHOLE)).encode())
    scripts = [answer(open_), answer(open_), answer(done), fails("404 Not Found"), row]
    with scripted(*scripts) as server:
        assert said(ask(at(server), ["a"])) == ["ok"]


# --- Starting is not repeated -----------------------------------------------------------------

AMBIGUOUS = {
    "closed": [CUT],
    "reset": [RESET],
    "500": fails("500 Internal Server Error"),
    "503 without a time": answer({}, "503 Service Unavailable"),
}


@each("ask", INVOKED)
@each("failure", AMBIGUOUS.values())
def test_a_batch_that_may_have_started_is_not_started_again(ask: Invoke, failure: Any) -> None:
    with scripted(failure, answer({"id": "b", "status": "PENDING"})) as server:
        with pytest.raises((APIConnectionError, APIStatusError)) as caught:
            ask(at(server), ["a"])

        assert len(server.requests) == 1
    assert str(caught.value).endswith("look before you repeat it (with AI21Batch.recent(model))")


@each("ask", INVOKED)
def test_a_batch_that_was_refused_for_now_is_started_again(ask: Invoke) -> None:
    emulator = Emulator(brain=shout, faults=[Fault(status=429, headers={"Retry-After": "0"})])

    assert said(ask(on(emulator), ["a"])) == ["A"]
    assert len(emulator.state(Batches).batches) == 1


@each("ask", INVOKED)
def test_looks_and_downloads_are_repeated(ask: Invoke) -> None:
    again = {"headers": {"Retry-After": "0"}, "status": 500}
    emulator = Emulator(brain=shout)
    model = on(emulator)
    batch = AI21Batch.submit(model, ["a"])
    emulator.faults += [Fault(**again, path=batch.id), Fault(**again, path="/results")]

    assert said(batch.results()) == ["A"]


@each("ask", INVOKED)
def test_an_error_on_the_way_names_the_batch(ask: Invoke) -> None:
    emulator = Emulator(brain=shout, faults=[Fault(status=401, path="/results")])
    with pytest.raises(APIStatusError, match="401") as caught:
        ask(on(emulator), ["a"])

    (batch_id,) = emulator.state(Batches).batches
    assert f"The batch is not lost: AI21Batch(model, '{batch_id}')" in str(caught.value)


def test_the_id_is_logged_when_a_batch_has_started(
    ask: Invoke, caplog: pytest.LogCaptureFixture
) -> None:
    emulator = Emulator(brain=shout)
    with caplog.at_level(logging.INFO, "ai21_chains"):
        ask(on(emulator), ["a"])

    (batch_id,) = emulator.state(Batches).batches
    assert f"Batch {batch_id} has started" in caplog.messages


@each("ask", INVOKED)
def test_waiting_ends_in_time_and_the_batch_goes_on(ask: Invoke) -> None:
    emulator = Emulator(brain=shout, pending_looks=10**6)
    with pytest.raises(APITimeoutError, match="PROCESSING, 0 of 1 rows done") as caught:
        ask(on(emulator), ["a"], poll_timeout_sec=0.01)

    (batch_id,) = emulator.state(Batches).batches
    assert f"AI21Batch(model, '{batch_id}').results()" in str(caught.value)


async def test_waiting_in_async_code_can_be_cancelled() -> None:
    emulator = Emulator(pending_looks=10**6)
    work = asyncio.create_task(
        abatch_invoke(on(emulator), ["a"], progress=lambda _: work.cancel() and None)
    )
    with pytest.raises(asyncio.CancelledError):
        await work

    assert len(emulator.requests) == 2


# --- A batch of another process ---------------------------------------------------------------


@each("act", DONE)
def test_a_batch_is_gone_on_with_by_its_id(act: Do) -> None:
    emulator = Emulator(brain=shout, pending_looks=1)
    batch = act(AI21Batch, "submit", on(emulator), ["a", "fail", "c"], temperature=0)
    assert (batch.rows, sent(emulator)[0]["body"]["temperature"]) == (3, 0)

    other = AI21Batch(on(emulator), batch.id)

    assert act(other, "status").status == "PROCESSING"
    results = act(other, "results", **QUICK)
    assert said(results) == ["A", BadRequestError, "C"]
    assert said(act(other, "results")) == said(results)


@each("act", DONE)
def test_rows_that_were_not_done_are_known_without_the_inputs(act: Do) -> None:
    emulator = Emulator(brain=shout, pending_looks=1)
    batch_id = AI21Batch.submit(on(emulator), ["a", "b", "c", "d"]).id
    other = AI21Batch(on(emulator), batch_id)
    other.status()

    act(other, "cancel")

    assert other.status().status == "CANCELLED"
    assert said(act(other, "results")) == ["A", "B", APIError, APIError]


@each("act", DONE)
def test_a_batch_that_does_not_exist_is_not_found(act: Do) -> None:
    with pytest.raises(NotFoundError, match="Batch not found") as caught:
        act(AI21Batch(on(Emulator()), "none"), "results")

    assert "not lost" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="is no id"):
        act(AI21Batch(on(Emulator()), ""), "status")


@each("act", DONE)
def test_a_batch_without_rows_that_nobody_counted_is_an_error(act: Do) -> None:
    counts = {"total": 0, "completed": 0, "failed": 0}
    with (
        serving(status="FAILED", counts=counts) as server,
        pytest.raises(APIError, match="Batch b1 is FAILED and has no rows"),
    ):
        act(AI21Batch(at(server), "b1"), "results")


@each("act", DONE)
def test_a_row_beyond_the_largest_batch_is_not_ours(act: Do) -> None:
    with (
        serving(result(10**9, WHOLE)) as server,
        pytest.raises(ResponseFormatError, match="'row-1000000000', which was not made here"),
    ):
        act(AI21Batch(at(server), "b1"), "results")


@each("act", DONE)
def test_the_newest_batches_are_listed(act: Do) -> None:
    emulator = Emulator()
    model = on(emulator)
    ids = [AI21Batch.submit(model, ["a"]).id for _ in range(3)]

    assert [one.id for one in act(AI21Batch, "recent", model, 2)] == [ids[2], ids[1]]
    with pytest.raises(ConfigurationError, match="limit should be from 1 to 100, got 0"):
        act(AI21Batch, "recent", model, 0)


# --- Files of somebody else's ------------------------------------------------------------------


def line(name: Any = "a", **changes: Any) -> dict[str, Any]:
    body = {"model": "jamba-mini", "messages": [{"role": "user", "content": "hi"}]}
    return {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body, **changes}


def jsonl(*rows: Any) -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in rows)


def test_a_file_in_ai21s_form_is_sent_as_it_is_and_read_line_by_line() -> None:
    emulator = Emulator(brain=shout)
    model = on(emulator)
    content = jsonl(line("a"), line("b", body={"model": "jamba-mini"}))

    batch = AI21Batch.submit_lines(model, content)

    assert batch.rows == 2
    assert emulator.requests[0].form.files["file"].content == content
    rows = batch.lines()
    assert {row["custom_id"]: row["response"]["status_code"] for row in rows} == {
        "a": 200,
        "b": 422,
    }
    with pytest.raises(ResponseFormatError, match=r"custom_id 'b', .* with AI21Batch.lines\(\)"):
        batch.results()


@each(
    ("content", "words"),
    [
        (b"", "at least one input"),
        (b"\n{", "Line 2 of the batch is no request .*JSONDecodeError"),
        (b"[]", "Line 1 of the batch is no request"),
        (jsonl({"custom_id": "a"}), "KeyError: 'url'"),
        (jsonl(line("a"), line("a")), "Line 2 of the batch repeats custom_id 'a'"),
        (jsonl(line(7)), "custom_id 7"),
        (jsonl(line(url="/v1/x")), "Line 1 of the batch has url '/v1/x'"),
        (jsonl(line(body={"model": "j2-mid"})), "cannot use j2-mid"),
        (jsonl(line(body=None)), "Line 1 of the batch is no request"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(content: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_lines(content)
