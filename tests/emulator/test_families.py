"""What a family of endpoints can use: routes with parameters, queries, forms, a memory, eras."""

import httpx
import pytest

from ai21_chains.emulator import Emulator, Headers, Request
from ai21_chains.emulator.multipart import read_form
from ai21_chains.emulator.routes import find

ROUTES = {"/files": {"GET": None}, "/files/{file_id}": {}, "/files/{file_id}/{part}": {}}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/files", {}),
        ("/files/7", {"file_id": "7"}),
        ("/files/7/text", {"file_id": "7", "part": "text"}),
        ("/files/", None),
        ("/files//text", None),
        ("/files/7/text/x", None),
        ("files", None),
        ("/", None),
    ],
)
def test_a_path_gives_its_parameters(path, values):
    found = find(ROUTES, path)

    assert (found[1] if found else None) == values


def test_an_exact_path_goes_before_a_template():
    assert find({"/a/{b}": {"GET": 1}, "/a/all": {"GET": 2}}, "/a/all") == ({"GET": 2}, {})


@pytest.mark.parametrize("boundary", ["b", "----WebKitFormBoundaryX"])
@pytest.mark.parametrize("content", [b"", b"\r\n", b"x--b", b"a\r\n--\r\nb\x00\xff"])
def test_a_form_holds_fields_and_files(content, boundary):
    files = {"file": ("ä b.txt", content, "text/plain")}
    data = {"labels": ["x", "é"], "path": "p"}
    kind = f"multipart/form-data; boundary={boundary}"
    sent = httpx.Request("POST", "http://x", files=files, data=data, headers={"content-type": kind})
    form = Request("POST", "/x", Headers(sent.headers.items()), sent.read()).form

    assert form.fields == {"labels": ["x", "é"], "path": ["p"]}
    assert (form.files["file"].name, form.files["file"].kind) == ("ä b.txt", "text/plain")
    assert form.files["file"].content == content


@pytest.mark.parametrize(
    "kind", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b"]
)
def test_what_is_no_form_is_an_empty_one(kind):
    form = read_form(kind, b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\nx\r\n--b--')

    assert (form.fields, form.files) == ({}, {})


def test_the_query_comes_through_every_door(door):
    emulator = Emulator()

    door(emulator)(path="/models?label=a&label=b%20c&q=", method="GET")

    assert emulator.requests[0].path == "/studio/v1/models"
    assert emulator.requests[0].params == {"label": ["a", "b c"], "q": [""]}


def test_a_path_is_decoded_behind_every_door(door):
    emulator = Emulator()

    door(emulator)(path="/a%20b%C3%A9", method="GET")

    assert emulator.requests[0].path == "/studio/v1/a bé"


class Memory:
    pass


def test_each_emulator_has_a_memory_of_its_own():
    one, other = Emulator(), Emulator()

    assert one.state(Memory) is one.state(Memory)
    assert one.state(Memory) is not other.state(Memory)


def test_the_older_server_knows_the_older_models_only(door, chat):
    send = door(Emulator(era="2024"))

    assert send(chat(model="jamba-1.5-mini")).status == 200
    assert send(chat(model="jamba-mini")).status == 422
    assert send(path="/models", method="GET").status == 404
