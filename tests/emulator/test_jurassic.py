"""Jurassic-2 as AI21 served it in 2024: complete and chat, through every door."""

import uuid

import httpx

from ai21_chains.emulator import Emulator
from ai21_chains.emulator.jurassic import CHAT_MODELS, MODELS
from tests.cases import each
from tests.emulator.doors import through_each_door

ID = uuid.UUID("7921a78e-d905-c9df-27e3-88e4831e3c3b")


def emulator(text="one two", **settings):
    return Emulator(brain=lambda request: text, era="2024", new_id=lambda: ID, **settings)


@through_each_door
def test_a_completion_has_this_form(door):
    answer = door(emulator("a\nbc"))({"prompt": "I will"}, path="/j2-mid/complete")

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"

    def token(text, start, end):
        figure = -(end - start) / 4
        return {
            "generatedToken": {"token": text, "logprob": figure, "raw_logprob": figure},
            "topTokens": None,
            "textRange": {"start": start, "end": end},
        }

    assert answer.json == {
        "id": str(ID),
        "prompt": {"text": "I will", "tokens": [token("I", 0, 1), token("▁will", 1, 6)]},
        "completions": [
            {
                "data": {
                    "text": "a\nbc",
                    "tokens": [token("a", 0, 1), token("<|newline|>", 1, 2), token("bc", 2, 4)],
                },
                "finishReason": {"reason": "endoftext"},
            }
        ],
    }


@through_each_door
def test_a_chat_has_this_form(door):
    body = {"messages": [{"role": "user", "text": "Hi"}], "system": "", "maxTokens": 1}
    answer = door(emulator())(body, path="/j2-ultra/chat")

    reason = {"reason": "length", "length": 1, "sequence": None}
    output = {"text": "one", "role": "assistant", "finishReason": reason}
    assert answer.json == {"id": str(ID), "outputs": [output]}


def finish(reason, **fields):
    return {"reason": reason, **fields}


@each(
    ("fields", "text", "reason"),
    [
        ({"maxTokens": 1}, "one", finish("length", length=1)),
        ({"maxTokens": 0}, "", finish("length", length=0)),
        ({"maxTokens": 2}, "one two", finish("endoftext")),
        ({"maxTokens": None}, "one two", finish("endoftext")),
        ({"stopSequences": ["two", "ne"]}, "o", finish("stop", sequence="ne")),
        ({"stopSequences": ["", "x"]}, "one two", finish("endoftext")),
    ],
)
def test_a_text_ends_for_a_reason(fields, text, reason):
    answer = ask(emulator(), "/j2-light/complete", {"prompt": "x", **fields})
    done = answer["completions"][0]

    assert (done["data"]["text"], done["finishReason"]) == (text, reason)


def ask(of, path, body, status=200):
    with httpx.Client(transport=of.transport(), base_url="http://x/studio/v1") as client:
        answer = client.post(path, json=body, headers={"Authorization": "Bearer k"})
    assert answer.status_code == status
    return answer.json()


def test_sixteen_tokens_are_the_default():
    answer = ask(emulator("a " * 40), "/j2-light/complete", {"prompt": "x"})

    assert answer["completions"][0]["finishReason"] == {"reason": "length", "length": 16}


def test_several_results_and_likely_tokens():
    body = {"prompt": "x", "numResults": 3, "topKReturn": 2}
    completions = ask(emulator(), "/j2-ultra/complete", body)["completions"]

    assert len(completions) == 3
    assert completions[0]["data"]["tokens"][0]["topTokens"] == [{"token": "one", "logprob": -0.75}]


@each("model", MODELS)
def test_the_models_of_then_complete(model):
    assert ask(emulator(), f"/{model}/complete", {"prompt": "x"})["completions"]
    assert ask(emulator(), f"/{model}/mine/complete", {"prompt": "x"})["completions"]


CHAT = {"messages": [], "system": ""}


@each("model", CHAT_MODELS)
def test_two_of_them_chat(model):
    assert ask(emulator(), f"/{model}/chat", CHAT)["outputs"]


@each(
    "path", ["/jamba-1.5-mini/complete", "/j1-grande/complete", "/j2-light/chat", "/a/b/complete"]
)
def test_others_do_not(path):
    assert ask(emulator(), path, {"prompt": "x", **CHAT}, 404) == {"detail": "Not Found"}


@through_each_door
def test_today_nothing_of_it_is_there(door):
    send = door(Emulator())

    assert send({"prompt": "x"}, path="/j2-ultra/complete").status == 404
    assert send(CHAT, path="/j2-ultra/chat").status == 404


@through_each_door
@each("path", ["/j2-ultra/complete", "/j2-ultra/chat"])
def test_a_key_is_needed(door, path):
    answer = door(emulator())({}, path=path, key=None)

    assert (answer.status, answer.json["detail"][:9]) == (401, "Forbidden")


@each(
    ("fields", "loc", "words"),
    [
        ({"prompt": None}, ["prompt"], "none is not an allowed value"),
        ({"numResults": 17}, ["numResults"], "less than or equal to 16"),
        ({"maxTokens": -1}, ["maxTokens"], "greater than or equal to 0"),
        ({"topP": 2}, ["topP"], "less than or equal to 1"),
        ({"stopSequences": "x"}, ["stopSequences"], "not a valid list"),
        ({"countPenalty": {}}, ["countPenalty", "scale"], "field required"),
        (
            {"countPenalty": {"scale": 1, "applyToPunctuations": "yes"}},
            ["countPenalty", "applyToPunctuations"],
            "boolean",
        ),
    ],
)
def test_a_broken_request_is_refused(fields, loc, words):
    (fault,) = ask(emulator(), "/j2-mid/complete", {"prompt": "x", **fields}, 422)["detail"]

    assert fault["loc"] == ["body", *loc]
    assert words in fault["msg"]


@each(
    ("body", "loc"),
    [
        ({"messages": []}, ["system"]),
        ({"messages": [{"role": "user", "content": "x"}], "system": ""}, ["messages", 0, "text"]),
        ({"messages": [{"role": "tool", "text": "x"}], "system": ""}, ["messages", 0, "role"]),
    ],
    ids=["no system", "jamba's form", "role"],
)
def test_a_broken_chat_is_refused(body, loc):
    (fault,) = ask(emulator(), "/j2-ultra/chat", body, 422)["detail"]

    assert fault["loc"] == ["body", *loc]


def test_a_prompt_that_is_too_long_is_refused():
    detail = ask(emulator(), "/j2-mid/complete", {"prompt": "a " * 9000}, 422)["detail"]

    assert detail.startswith("Prompt has too many tokens: 9001")
