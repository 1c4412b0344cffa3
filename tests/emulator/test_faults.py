"""Faults: what goes wrong, how often, and what a client sees of it."""

import asyncio
import time

import httpx
import pytest

from ai21_chains.emulator import Emulator, Fault, scripted
from ai21_chains.emulator.exchange import Cut, Response, Wait
from tests.cases import each
from tests.emulator.doors import through_each_door

CHUNKED = each("stream", [False, True])
URL = "https://api.ai21.com/studio/v1/chat/completions"
KEY = {"Authorization": "Bearer k"}


@through_each_door
def test_a_status_with_a_header_comes_as_often_as_told(door, chat):
    fault = Fault(status=429, headers={"Retry-After": "1"}, times=2)
    send = door(Emulator(faults=[fault]))
    answers = [send(chat()) for _ in range(3)]

    assert [answer.status for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert answers[0].json == {"detail": "Too Many Requests"}


@through_each_door
def test_a_server_error_is_fastapis_plain_text(door, chat):
    answer = door(Emulator(faults=[Fault(status=500)]))(chat())

    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert answer.headers["content-type"].startswith("text/plain")


@through_each_door
def test_an_unheard_of_status_has_a_body_too(door, chat):
    answer = door(Emulator(faults=[Fault(status=599)]))(chat())

    assert (answer.status, answer.json) == (599, {"detail": "Error 599"})


@through_each_door
@each(
    ("body", "sent"),
    [
        (b"<html>", b"<html>"),
        ("gateway says no", b"gateway says no"),
        ({"error": {"message": "é"}}, '{"error":{"message":"é"}}'.encode()),
    ],
)
def test_a_body_is_sent_as_it_is(door, chat, body, sent):
    answer = door(Emulator(faults=[Fault(body=body)]))(chat())

    assert (answer.status, answer.body) == (200, sent)


@through_each_door
def test_a_fault_may_say_its_own_content_type(door, chat):
    fault = Fault(body="<html>", headers={"Content-Type": "text/html"})
    answer = door(Emulator(faults=[fault]))(chat())

    assert answer.headers["content-type"] == "text/html"


@through_each_door
def test_a_fault_that_answers_leaves_the_script_where_it_is(door, chat):
    send = door(Emulator(brain=scripted("first"), faults=[Fault(status=503)]))
    send(chat())

    assert send(chat()).message["content"] == "first"


@through_each_door
def test_a_fault_hits_only_its_path(door, chat):
    send = door(Emulator(faults=[Fault(status=503, path="/models")]))

    assert send(chat()).status == 200
    assert send(path="/models", method="GET").status == 503


@through_each_door
def test_faults_are_used_in_order_and_may_be_added_later(door, chat):
    emulator = Emulator(faults=[Fault(status=500), Fault(status=503)])
    send = door(emulator)
    statuses = [send(chat()).status for _ in range(3)]
    emulator.faults.append(Fault(status=404))

    assert [*statuses, send(chat()).status] == [500, 503, 200, 404]
    assert emulator.faults == []


@through_each_door
def test_a_fault_without_times_never_ends(door, chat):
    send = door(Emulator(faults=[Fault(status=503, times=None)]))

    assert {send(chat()).status for _ in range(4)} == {503}


@through_each_door
@CHUNKED
def test_a_delay_comes_before_everything(door, chat, stream):
    send = door(Emulator(faults=[Fault(delay=0.05)]))
    began = time.monotonic()
    answer = send(chat(stream=stream))

    assert time.monotonic() - began >= 0.05
    assert (answer.status, answer.broken) == (200, "")


@through_each_door
@CHUNKED
@each("size", [1, 7, 100_000])
def test_a_split_body_is_the_same_body(door, chat, stream, size):
    brain = scripted("日本語 and English", "日本語 and English")
    send = door(Emulator(brain=brain, faults=[Fault(split=size)], new_id=lambda: "id"))
    split, whole = send(chat(stream=stream)), send(chat(stream=stream))

    assert split.body == whole.body


def test_a_split_body_arrives_in_pieces_of_that_size(chat):
    emulator = Emulator(faults=[Fault(split=10)])
    client = httpx.Client(transport=emulator.transport(), headers=KEY)
    with client, client.stream("POST", URL, json=chat(stream=True)) as response:
        sizes = {len(chunk) for chunk in response.iter_raw()}

    assert max(sizes) == 10


@through_each_door
@CHUNKED
@each("after", [0, 1, 120])
def test_a_cut_connection_looks_like_one(door, chat, stream, after):
    answer = door(Emulator(faults=[Fault(cut_after=after)]))(chat(stream=stream))

    assert answer.broken == "RemoteProtocolError"
    assert len(answer.body) == after


@through_each_door
def test_a_cut_beyond_the_end_still_breaks_off(door, chat):
    answer = door(Emulator(faults=[Fault(cut_after=10**6)]))(chat(stream=True))

    assert answer.broken == "RemoteProtocolError"
    assert answer.body.endswith(b"data: [DONE]\n\n")


@through_each_door
def test_a_dropped_connection_gives_no_answer_and_the_next_one_works(door, chat):
    send = door(Emulator(faults=[Fault(drop=True)]))
    dropped, served = send(chat()), send(chat())

    assert (dropped.status, dropped.broken) == (0, "RemoteProtocolError")
    assert served.status == 200


@through_each_door
def test_a_stalled_stream_goes_on_after_a_while(door, chat):
    fault = Fault(stall_after=50, stall=0.05)
    send = door(Emulator(brain=scripted("Hi"), faults=[fault]))
    began = time.monotonic()
    answer = send(chat(stream=True))

    assert time.monotonic() - began >= 0.05
    assert answer.body.endswith(b"data: [DONE]\n\n")


@each("fault", [Fault(delay=60), Fault(stall_after=50)], ids=["delay", "stall"])
def test_a_client_gives_up_on_silence_after_its_own_timeout(chat, fault):
    emulator = Emulator(faults=[fault])
    client = httpx.Client(transport=emulator.transport(), headers=KEY, timeout=0.05)
    with client, pytest.raises(httpx.ReadTimeout):
        client.post(URL, json=chat(stream=True))


@each("fault", [Fault(delay=60), Fault(stall_after=50)], ids=["delay", "stall"])
async def test_an_async_client_gives_up_on_silence_after_its_own_timeout(chat, fault):
    emulator = Emulator(faults=[fault])
    client = httpx.AsyncClient(transport=emulator.transport(), headers=KEY, timeout=0.05)
    async with client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(URL, json=chat(stream=True))


async def test_async_waiting_leaves_the_loop_free(chat):
    emulator = Emulator(faults=[Fault(delay=0.2, times=None)])
    client = httpx.AsyncClient(transport=emulator.transport(), headers=KEY)
    began = time.monotonic()
    async with client:
        await asyncio.gather(*(client.post(URL, json=chat()) for _ in range(20)))

    assert time.monotonic() - began < 2


@each(
    "fields",
    [
        {"split": 0},
        {"times": 0},
        {"cut_after": -1},
        {"stall_after": -1},
        {"delay": -1},
        {"stall": -0.1},
    ],
)
def test_a_fault_that_means_nothing_is_refused(fields):
    (name,) = fields
    with pytest.raises(ValueError, match=name):
        Fault(**fields)


def test_a_stall_and_a_cut_fall_where_they_belong_in_one_body():
    fault = Fault(stall_after=3, stall=9, cut_after=6, split=4)
    damaged = fault.damage(Response(200, (), (b"abcde", b"fghij")))

    assert damaged.steps == (b"abc", Wait(9), b"d", b"e", b"f", Cut())
    assert damaged.body == b"abcdef"
