"""Brains: what the emulated model says."""

import logging

import pytest

from ai21_chains.emulator import Emulator, EmulatorError, Reply, ToolCall, scripted
from tests.emulator.doors import through_each_door


@through_each_door
def test_a_brain_is_any_function_of_the_request(door, chat):
    answer = door(Emulator(brain=lambda request: request["messages"][-1]["content"].upper()))(
        chat("echo")
    )

    assert answer.message["content"] == "ECHO"


@through_each_door
def test_scripted_replies_come_in_order_through_every_door(door, chat):
    send = door(
        Emulator(brain=scripted("one", Reply("two"), Reply(tool_calls=[ToolCall("f", {})])))
    )

    assert send(chat()).message["content"] == "one"
    assert send(chat()).message["content"] == "two"
    assert send(chat()).message["tool_calls"][0]["function"]["name"] == "f"


@through_each_door
def test_a_script_that_has_run_out_says_so(door, chat):
    send = door(Emulator(brain=scripted("only one")))
    send(chat())
    answer = send(chat())

    assert answer.status == 400
    assert answer.json == {
        "detail": "Emulator: the scripted brain has no reply left: 1 given, "
        "this is request number 2"
    }


def test_a_script_can_be_asked_without_an_emulator():
    brain = scripted()

    with pytest.raises(EmulatorError, match="no reply left"):
        brain({})


@through_each_door
def test_a_brain_that_fails_is_a_server_error_with_its_name_and_a_traceback(door, chat, caplog):
    caplog.clear()
    answer = door(Emulator(brain=lambda request: request["nope"]))(chat())

    assert answer.status == 500
    assert answer.json == {"detail": "Emulator: the brain raised KeyError: 'nope'"}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@through_each_door
def test_arguments_may_be_broken_on_purpose(door, chat):
    reply = Reply(tool_calls=[ToolCall("f", '{"a": ')], finish_reason="length")
    answer = door(Emulator(brain=scripted(reply)))(chat())

    assert answer.message["tool_calls"][0]["function"]["arguments"] == '{"a": '


@through_each_door
def test_text_beside_a_tool_call_is_kept(door, chat):
    answer = door(Emulator(brain=scripted(Reply("Let me see.", [ToolCall("f", {})]))))(chat())

    assert answer.message["content"] == "Let me see."
    assert answer.message["tool_calls"]
