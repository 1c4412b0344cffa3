"""`AI21LLM`: prompts in, texts out, by way of Jamba's chat or Jurassic-2's completion."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.load import dumps, load
from langchain_core.outputs import LLMResult
from langchain_core.prompts import PromptTemplate

from ai21_chains.emulator import Emulator, scripted
from ai21_chains.errors import (
    AI21Error,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    StreamInterruptedError,
    UnprocessableEntityError,
)
from ai21_chains.llms import AI21LLM, Penalty
from tests.cases import each
from tests.servers.scripted import (
    CUT,
    DONE,
    HOLD,
    ROLE,
    STOP,
    answer,
    completion,
    event,
    fails,
    stream,
)
from tests.servers.scripted import scripted as serving

Generate = Callable[..., LLMResult]
Say = Callable[..., str]


def generate(llm: AI21LLM, prompts: list[str], **options: Any) -> LLMResult:
    return llm.generate(prompts, **options)


def agenerate(llm: AI21LLM, prompts: list[str], **options: Any) -> LLMResult:
    return asyncio.run(llm.agenerate(prompts, **options))


GENERATED = (generate, agenerate)


def invoke(llm: AI21LLM, prompt: str = "Hi", **options: Any) -> str:
    return llm.invoke(prompt, **options)


def ainvoke(llm: AI21LLM, prompt: str = "Hi", **options: Any) -> str:
    return asyncio.run(llm.ainvoke(prompt, **options))


def streamed(llm: AI21LLM, prompt: str = "Hi", **options: Any) -> str:
    return "".join(llm.stream(prompt, **options))


def astreamed(llm: AI21LLM, prompt: str = "Hi", **options: Any) -> str:
    async def run() -> str:
        return "".join([text async for text in llm.astream(prompt, **options)])

    return asyncio.run(run())


SAID = (invoke, ainvoke, streamed, astreamed)


def batch(llm: AI21LLM, prompts: list[str], **options: Any) -> list[Any]:
    return llm.batch(prompts, **options)


def abatch(llm: AI21LLM, prompts: list[str], **options: Any) -> list[Any]:
    return asyncio.run(llm.abatch(prompts, **options))


BATCHED = (batch, abatch)


def echo(request: dict[str, Any]) -> str:
    return f"<{request['messages'][-1]['content']}>"


def emulating():
    return Emulator(brain=echo, era="2024").serve()


@pytest.fixture
def server():
    with emulating() as running:
        yield running


def jamba(server, **settings: Any) -> AI21LLM:
    url = getattr(server, "base_url", None) or server.url
    return AI21LLM(**{"model": "jamba-1.5-mini", "base_url": url, "api_key": "k", **settings})


def jurassic(server, **settings: Any) -> AI21LLM:
    return jamba(server, **{"model": "j2-ultra", **settings})


BOTH = each("llm", [jamba, jurassic])


# --- Requests --------------------------------------------------------------------------------


@each("say", SAID, server=emulating)
@BOTH
def test_a_prompt_gets_a_text(say: Say, server, llm) -> None:
    assert say(llm(server)) == "<Hi>"


@each("say", SAID, server=emulating)
def test_jamba_gets_the_prompt_as_the_one_message(say: Say, server) -> None:
    say(jamba(server, temperature=0, max_tokens=9), stop=["x"])

    (sent,) = server.emulator.requests
    asked = {"temperature": 0.0, "max_tokens": 9, "stop": ["x"]}
    message = {"role": "user", "content": "Hi"}
    streams = {"stream": True} if say in (streamed, astreamed) else {}
    assert sent.path == "/studio/v1/chat/completions"
    assert sent.json == {"model": "jamba-1.5-mini", "messages": [message], **asked, **streams}


@each("say", SAID, server=emulating)
def test_jurassic_gets_the_prompt_with_its_own_names(say: Say, server) -> None:
    llm = jurassic(
        server,
        temperature=0.5,
        top_p=0.9,
        max_tokens=99,
        min_tokens=1,
        top_k_return=3,
        logit_bias={"cat": -1.5},
        frequency_penalty=Penalty(scale=2, apply_to_punctuations=False),
        presence_penalty={"scale": 1},
        count_penalty={"scale": 0.5, "applyToWhitespaces": True},
        epoch=2,
        model_kwargs={"minP": 0.1},
    )
    say(llm, stop=["x", "y"])

    (sent,) = server.emulator.requests
    assert sent.path == "/studio/v1/j2-ultra/complete"
    assert sent.json == {
        "prompt": "Hi",
        "temperature": 0.5,
        "topP": 0.9,
        "maxTokens": 99,
        "minTokens": 1,
        "topKReturn": 3,
        "logitBias": {"cat": -1.5},
        "frequencyPenalty": {"scale": 2.0, "applyToPunctuations": False},
        "presencePenalty": {"scale": 1.0},
        "countPenalty": {"scale": 0.5, "applyToWhitespaces": True},
        "epoch": 2,
        "minP": 0.1,
        "stopSequences": ["x", "y"],
    }


@each("say", SAID, server=emulating)
def test_only_what_is_set_is_sent(say: Say, server) -> None:
    say(jurassic(server))

    assert server.emulator.requests[0].json == {"prompt": "Hi"}


def test_a_fine_tuned_model_is_a_part_of_the_path(server) -> None:
    jurassic(server, model="j2-mid", custom_model="my model").invoke("Hi")

    (sent,) = server.emulator.requests
    assert sent.path == "/studio/v1/j2-mid/my model/complete"
    assert sent.json == {"prompt": "Hi"}


@each("made", GENERATED)
@each("name", ["n", "num_results"])
@BOTH
def test_several_texts_for_a_prompt(made: Generate, llm, name: str) -> None:
    with Emulator(brain=scripted("a", "b", "c"), era="2024").serve() as server:
        (texts,) = made(llm(server, temperature=0.7, **{name: 3}), ["Hi"]).generations

    assert [text.text for text in texts] == ["a", "b", "c"]
    assert ["usage_metadata" in text.generation_info for text in texts] == [True, False, False]


@each("say", SAID)
@each(
    ("option", "value"),
    [
        ("min_tokens", 1),
        ("top_k_return", 0),
        ("logit_bias", {"a": 1.0}),
        ("count_penalty", {"scale": 0}),
        ("custom_model", "mine"),
        ("epoch", 1),
    ],
    server=emulating,
)
def test_what_only_jurassic_knows_is_refused_for_jamba(say: Say, server, option, value) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} is a setting of Jurassic-2"):
        say(jamba(server, **{option: value}))

    assert not server.emulator.requests


def in_a_call(server, **options: Any) -> str:
    return jurassic(server).invoke("Hi", **options)


@each(
    ("settings", "words"),
    [
        ({"temperature": 3}, "temperature should be less than or equal to 2, got 3"),
        ({"min_tokens": -1}, "min_tokens should be greater than or equal to 0"),
        ({"top_k_return": 65}, "top_k_return should be less than or equal to 64"),
        ({"n": 17}, "n should be less than or equal to 16"),
        ({"frequency_penalty": {"scale": 501}}, "frequency_penalty should have a scale of 500"),
        ({"presence_penalty": {"scale": 6}}, "presence_penalty should have a scale of 5"),
        ({"count_penalty": {"scale": 1.5}}, "count_penalty should have a scale of 1 at most"),
        ({"count_penalty": {"scale": -1}}, "count_penalty should be greater than or equal to 0"),
        ({"count_penalty": 1}, "count_penalty should be a valid dict"),
        (
            {"count_penalty": {"scale": 1, "applyToPunctuation": True}},
            "count_penalty has no field 'applyToPunctuation'",
        ),
        ({"temprature": 1}, "unknown argument 'temprature'. Did you mean 'temperature'?"),
    ],
)
@each("set_in", [jurassic, in_a_call], server=emulating)
def test_bad_settings_are_refused_by_name(server, set_in, settings, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"AI21LLM: {words}".replace("?", r"\?")):
        set_in(server, **settings)

    assert not server.emulator.requests


def test_n_above_one_does_not_go_with_streaming(server) -> None:
    for say in (streamed, astreamed):
        with pytest.raises(ConfigurationError, match="n above 1 does not go with streaming"):
            say(jamba(server, n=2))


# --- Answers ---------------------------------------------------------------------------------


@each("made", GENERATED, server=emulating)
def test_jambas_answers_say_why_they_end_and_what_they_took(made: Generate, server) -> None:
    result = made(jamba(server), ["one", "two more"])

    assert [texts[0].text for texts in result.generations] == ["<one>", "<two more>"]
    infos = [texts[0].generation_info for texts in result.generations]
    assert [info["finish_reason"] for info in infos] == ["stop", "stop"]
    assert {info["model_name"] for info in infos} == {"jamba-1.5-mini"}
    usage = [info["usage_metadata"] for info in infos]
    assert result.llm_output == {
        "model_name": "jamba-1.5-mini",
        "model_provider": "ai21",
        "token_usage": {
            "prompt_tokens": sum(one["input_tokens"] for one in usage),
            "completion_tokens": sum(one["output_tokens"] for one in usage),
            "total_tokens": sum(one["total_tokens"] for one in usage),
        },
    }


@each("made", GENERATED)
def test_jurassics_tokens_are_counted_from_what_it_lists(made: Generate) -> None:
    token = {"generatedToken": {"token": "a", "logprob": -1.0}, "topTokens": None}
    done = {"data": {"text": " ab", "tokens": [token] * 2}, "finishReason": {"reason": "length"}}
    body = {"id": 1234, "prompt": {"text": "x", "tokens": [token] * 5}, "completions": [done, done]}
    with serving(answer(body)) as server:
        result = made(jurassic(server), ["x"])

    info = result.generations[0][0].generation_info
    assert info["usage_metadata"] == {"input_tokens": 5, "output_tokens": 4, "total_tokens": 9}
    assert (info["finish_reason"], info["id"], "logprobs" in info) == ("length", "1234", False)
    assert result.llm_output["token_usage"]["total_tokens"] == 9


@each("made", GENERATED)
@each("tokens", [{}, {"tokens": None}])
def test_without_lists_of_tokens_there_is_no_usage(made: Generate, tokens) -> None:
    body = {"completions": [{"data": {"text": "ab", **tokens}}]}
    with serving(answer(body)) as server:
        result = made(jurassic(server), ["x"])

    assert result.generations[0][0].generation_info == {
        "model_provider": "ai21",
        "model_name": "j2-ultra",
    }
    assert "token_usage" not in result.llm_output


@each("made", GENERATED, server=emulating)
def test_the_likely_tokens_are_there_when_asked_for(made: Generate, server) -> None:
    result = made(jurassic(server, top_k_return=2), ["a b"])

    tokens = result.generations[0][0].generation_info["logprobs"]["tokens"]
    assert [token["generatedToken"]["token"] for token in tokens] == ["<a", "▁b>"]
    assert tokens[0]["topTokens"][0]["token"] == "<a"


@each("made", GENERATED)
@each(
    ("settings", "text", "reason"),
    [
        ({}, "one. two. three", "endoftext"),
        ({"stop": [". t", "three"]}, "one", "stop"),
        ({"max_tokens": 2}, "one. two.", "length"),
        ({"stop_sequences": [" three"], "max_tokens": 9}, "one. two.", "stop"),
    ],
)
def test_jurassic_says_why_a_text_ends(made: Generate, settings, text: str, reason: str) -> None:
    with Emulator(brain=lambda request: "one. two. three", era="2024").serve() as server:
        (found,) = made(jurassic(server, **settings), ["x"]).generations[0]

    assert (found.text, found.generation_info["finish_reason"]) == (text, reason)


@each("say", SAID)
@each(
    "body",
    [
        {},
        [],
        {"completions": []},
        {"completions": [{}]},
        {"completions": [{"data": {"text": None}}]},
        {"completions": ["text"]},
        {"completions": [{"data": {"text": "a", "tokens": [1]}}]},
        "text",
        None,
    ],
)
def test_what_is_not_jurassics_format_is_an_error(say: Say, body: object) -> None:
    with (
        serving(answer(body)) as server,
        pytest.raises(AI21Error, match=r"POST http.*/j2-ultra/complete answered with something"),
    ):
        say(jurassic(server))


# --- Many prompts ----------------------------------------------------------------------------


@each("made", GENERATED)
@BOTH
def test_prompts_of_one_call_are_under_way_at_the_same_time(made: Generate, llm) -> None:
    together = threading.Barrier(8, timeout=5)

    def brain(request: dict[str, Any]) -> str:
        together.wait()
        return echo(request)

    with Emulator(brain=brain, era="2024").serve() as server:
        result = made(llm(server), [f"{number}" for number in range(8)])

    assert [texts[0].text for texts in result.generations] == [f"<{n}>" for n in range(8)]


@each("batched", BATCHED)
def test_inputs_of_a_batch_are_under_way_at_the_same_time(batched) -> None:
    together = threading.Barrier(20, timeout=5)

    def brain(request: dict[str, Any]) -> str:
        together.wait()
        return echo(request)

    with Emulator(brain=brain, era="2024").serve() as server:
        assert batched(jamba(server), list("abcdefghijklmnopqrst"))[19] == "<t>"


@each("batched", BATCHED)
def test_a_batch_keeps_to_its_limit(batched) -> None:
    pair = threading.Barrier(2, timeout=5)
    busy: list[int] = []
    most: list[int] = []

    def brain(request: dict[str, Any]) -> str:
        busy.append(1)
        pair.wait()
        most.append(len(busy))
        pair.wait()
        busy.pop()
        return "x"

    with Emulator(brain=brain, era="2024").serve() as server:
        batched(jamba(server), ["a"] * 12, config={"max_concurrency": 2})

    assert most == [2] * 12


def two_fails(request: dict[str, Any]) -> str:
    text = echo(request)
    if text == "<two>":
        raise ValueError("no two")
    return text


@each("batched", BATCHED)
@BOTH
def test_in_a_batch_one_failure_does_not_lose_the_others(batched, llm) -> None:
    with Emulator(brain=two_fails, era="2024").serve() as server:
        model = llm(server, max_retries=0)
        one, two, three = batched(model, ["one", "two", "three"], return_exceptions=True)

    assert (one, three) == ("<one>", "<three>")
    assert isinstance(two, InternalServerError)


@each("batched", BATCHED)
def test_a_failure_in_a_batch_is_raised_unless_it_is_wanted(batched) -> None:
    with (
        Emulator(brain=two_fails, era="2024").serve() as server,
        pytest.raises(InternalServerError),
    ):
        batched(jamba(server, max_retries=0), ["one", "two"])


@each("made", GENERATED)
def test_a_failure_in_one_call_ends_it(made: Generate) -> None:
    with (
        Emulator(brain=two_fails, era="2024").serve() as server,
        pytest.raises(InternalServerError),
    ):
        made(jamba(server, max_retries=0), ["one", "two", "three"])


def test_after_a_failure_the_other_prompts_are_given_up() -> None:
    def script(request):
        text = request.body["messages"][0]["content"]
        return fails("400 Bad Request") if text == "two" else [HOLD]

    with serving(script) as server:
        with pytest.raises(BadRequestError):
            agenerate(jamba(server), ["one", "two"])

        assert server.left.wait(5)


@each("made", GENERATED, server=emulating)
def test_a_bad_prompt_is_found_before_any_is_sent(made: Generate, server) -> None:
    with pytest.raises(ConfigurationError, match="surrogate"):
        made(jamba(server), ["\ud800"])

    assert not server.emulator.requests


@each("batched", BATCHED, server=emulating)
@each("made", GENERATED)
def test_nothing_in_nothing_out(made: Generate, batched, server) -> None:
    assert made(jamba(server), []).generations == []
    assert batched(jamba(server), []) == []


# --- Streams ---------------------------------------------------------------------------------


def chunks(llm: AI21LLM, **options: Any) -> list[str]:
    return list(llm.stream("Hi", **options))


def achunks(llm: AI21LLM, **options: Any) -> list[str]:
    async def run() -> list[str]:
        return [text async for text in llm.astream("Hi", **options)]

    return asyncio.run(run())


STREAMED = (chunks, achunks)


@each("pieces", STREAMED, server=emulating)
def test_jamba_streams_and_jurassic_yields_once(pieces, server) -> None:
    with Emulator(brain=lambda request: "one two three", era="2024").serve() as said:
        assert pieces(jamba(said)) == ["one", " two", " three"]
        assert pieces(jurassic(said)) == ["one two three"]


@each("pieces", STREAMED)
@BOTH
def test_an_empty_text_is_an_empty_stream(pieces, llm) -> None:
    with Emulator(brain=lambda request: "", era="2024").serve() as server:
        assert pieces(llm(server)) == []


@each("pieces", STREAMED)
def test_a_stream_that_breaks_off_is_an_error(pieces) -> None:
    with serving(stream(ROLE, event("Hel"), CUT)) as server, pytest.raises(StreamInterruptedError):
        pieces(jamba(server))


class Record(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.results: list[LLMResult] = []
        self.errors: list[BaseException] = []
        self.prompts: list[str] = []
        self.parameters: list[dict[str, Any]] = []

    def on_llm_start(self, serialized, prompts, **kwargs) -> None:
        self.prompts += prompts
        self.parameters.append(kwargs["invocation_params"])

    def on_llm_new_token(self, token, **kwargs) -> None:
        assert kwargs["chunk"].text == token
        self.tokens.append(token)

    def on_llm_end(self, response, **kwargs) -> None:
        self.results.append(response)

    def on_llm_error(self, error, **kwargs) -> None:
        self.errors.append(error)


def test_callbacks_hear_each_piece_and_the_whole() -> None:
    for say in (streamed, astreamed):
        record = Record()
        with serving(stream(ROLE, event("Hel"), event("lo"), STOP, DONE)) as server:
            say(jamba(server), config={"callbacks": [record]})

        (result,) = record.results
        assert record.tokens == ["Hel", "lo"]
        assert result.generations[0][0].text == "Hello"
        info = result.generations[0][0].generation_info
        assert info["finish_reason"] == "stop"
        assert info["usage_metadata"]["total_tokens"] == 5


@each("batched", BATCHED)
def test_callbacks_hear_of_each_prompt_and_its_failure(batched) -> None:
    record = Record()
    with Emulator(brain=two_fails, era="2024").serve() as server:
        batched(
            jamba(server, max_retries=0),
            ["one", "two"],
            config={"callbacks": [record]},
            return_exceptions=True,
        )

    assert sorted(record.prompts) == ["one", "two"]
    assert [result.generations[0][0].text for result in record.results] == ["<one>"]
    assert [type(error) for error in record.errors] == [InternalServerError]


# --- Settings --------------------------------------------------------------------------------


@each("say", SAID, server=emulating)
def test_options_of_a_call_go_before_the_settings(say: Say, server) -> None:
    llm = jurassic(server, max_tokens=5)
    assert say(llm, model="jamba-1.5-large", max_tokens=7) == "<Hi>"
    assert say(llm.bind(max_tokens=None)) == "<Hi>"

    large, unlimited = server.emulator.requests
    assert (large.json["model"], large.json["max_tokens"]) == ("jamba-1.5-large", 7)
    assert unlimited.json == {"prompt": "Hi"}


@each("say", SAID, server=emulating)
def test_headers_of_a_call_join_those_of_the_model(say: Say, server) -> None:
    say(jamba(server, default_headers={"X-A": "1", "X-B": "2"}), extra_headers={"x-a": "3"})

    headers = server.emulator.requests[0].headers
    assert (headers["x-a"], headers["x-b"]) == ("3", "2")


@each("say", SAID, server=emulating)
def test_a_key_given_to_a_call_is_not_in_its_trace(say: Say, server) -> None:
    record = Record()
    say(jamba(server), api_key="k-secret-of-the-call", config={"callbacks": [record]})

    assert server.emulator.requests[0].headers["authorization"] == "Bearer k-secret-of-the-call"
    assert record.parameters[0]["model"] == "jamba-1.5-mini"
    assert "secret" not in repr(record.parameters)


@each("made", GENERATED, server=emulating)
def test_prompts_are_cached_by_all_that_decides_the_answer(made: Generate, server) -> None:
    llm = jamba(server, cache=InMemoryCache())
    for options in ({}, {}, {"temperature": 1}, {"temperature": 1}, {"model": "jamba-1.5-large"}):
        made(llm, ["Hi"], **options)
    made(llm, ["Hi", "new"])

    asked = [request.json["messages"][0]["content"] for request in server.emulator.requests]
    assert asked == ["Hi", "Hi", "Hi", "new"]


def test_a_prompt_template_and_messages_go_in_as_text(server) -> None:
    chain = PromptTemplate.from_template("Name a {thing}.") | jamba(server)

    assert chain.invoke({"thing": "city"}) == "<Name a city.>"
    assert jamba(server).invoke([("human", "Hi")]) == "<Human: Hi>"


@pytest.mark.filterwarnings("ignore:The function `load`")
def test_a_dump_can_be_loaded_without_its_key(server) -> None:
    penalty = {"scale": 0.5, "applyToNumbers": False}
    dumped = dumps(jurassic(server, count_penalty=penalty, top_k_return=1, api_key="k-secret"))
    again = load(
        json.loads(dumped),
        allowed_objects=[AI21LLM],
        valid_namespaces=["ai21_chains"],
        secrets_map={"AI21_API_KEY": "k-loaded"},
    )
    again.invoke("Hi")

    assert "k-secret" not in dumped
    sent = server.emulator.requests[0]
    assert sent.headers["authorization"] == "Bearer k-loaded"
    assert sent.json["countPenalty"] == penalty


def test_it_can_be_pickled_and_copied(server) -> None:
    llm = jurassic(server, count_penalty={"scale": 1}, max_tokens=4)

    for again in (pickle.loads(pickle.dumps(llm)), llm.model_copy(update={"temperature": 0})):
        assert again.invoke("Hi") == "<Hi>"
        assert server.emulator.requests[-1].json["countPenalty"] == {"scale": 1.0}


def test_a_setting_can_be_changed_and_is_checked(server) -> None:
    llm = jurassic(server)
    llm.count_penalty = {"scale": 0.5}

    assert llm.count_penalty == Penalty(scale=0.5)
    with pytest.raises(ConfigurationError, match="min_tokens"):
        llm.min_tokens = -1


def test_what_langchain_asks_about_it(server) -> None:
    llm = jurassic(server, temperature=0.5, stop="x")

    assert llm._llm_type == "ai21"
    assert llm.asdict() == {
        "_type": "ai21",
        "base_url": server.base_url,
        "model": "j2-ultra",
        "stop": ["x"],
        "temperature": 0.5,
    }
    assert llm._get_ls_params() == {
        "ls_provider": "ai21",
        "ls_model_type": "llm",
        "ls_model_name": "j2-ultra",
        "ls_temperature": 0.5,
    }
    assert llm.get_num_tokens("word " * 7) == 10


def test_usage_callbacks_of_messages_stay_silent(server) -> None:
    with get_usage_metadata_callback() as usage:
        jamba(server).invoke("Hi")

    assert usage.usage_metadata == {}


# --- Retired models --------------------------------------------------------------------------


@each("say", SAID)
@each(
    ("model", "kind", "words"),
    [
        ("j2-light", NotFoundError, "AI21 retired j2-light on 2024-11-11; use jamba-mini"),
        ("j2-ultra", NotFoundError, "AI21 retired j2-ultra on 2024-11-11; use jamba-large"),
        ("jamba-1.5-mini", UnprocessableEntityError, "retired jamba-1.5-mini on 2025-05-06; use"),
    ],
)
def test_a_retired_model_is_named_with_its_successor(say: Say, model: str, kind, words) -> None:
    with Emulator().serve() as server, pytest.raises(kind, match=words):
        say(jamba(server, model=model))


@each("say", SAID)
def test_jurassics_completion_is_tried_again_like_chat(say: Say) -> None:
    body = {"completions": [{"data": {"text": "ab"}}]}
    with serving(fails("500 Internal Server Error"), answer(body)) as server:
        assert say(jurassic(server)) == "ab"


@each("made", GENERATED)
def test_a_server_need_not_count_tokens(made: Generate) -> None:
    with serving(answer({**completion("Hi"), "usage": None})) as server:
        assert made(jamba(server), ["x"]).llm_output == {
            "model_name": "jamba-1.5-mini",
            "model_provider": "ai21",
        }
