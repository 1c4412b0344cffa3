"""What a family of endpoints can use: routes with parameters, queries, forms, a memory, eras."""

import json

import httpx

from ai21_chains.emulator import Emulator, Headers, Request
from ai21_chains.emulator.batches import CREATED, ENDPOINT, Batches
from ai21_chains.emulator.library import Library
from ai21_chains.emulator.maestro import Runs
from ai21_chains.emulator.multipart import read_form
from ai21_chains.emulator.routes import find
from tests.cases import each
from tests.emulator.doors import through_each_door

BASE_URL = "https://api.ai21.com/studio/v1"
KEY = {"Authorization": "Bearer any"}

ROUTES = {"/files": {"GET": None}, "/files/{file_id}": {}, "/files/{file_id}/{part}": {}}


@each(
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


@each("boundary", ["b", "----WebKitFormBoundaryX"])
@each("content", [b"", b"\r\n", b"x--b", b"a\r\n--\r\nb\x00\xff"])
def test_a_form_holds_fields_and_files(content, boundary):
    files = {"file": ("ä b.txt", content, "text/plain")}
    data = {"labels": ["x", "é"], "path": "p"}
    kind = f"multipart/form-data; boundary={boundary}"
    sent = httpx.Request("POST", "http://x", files=files, data=data, headers={"content-type": kind})
    form = Request("POST", "/x", Headers(sent.headers.items()), sent.read()).form

    assert form.fields == {"labels": ["x", "é"], "path": ["p"]}
    assert (form.files["file"].name, form.files["file"].kind) == ("ä b.txt", "text/plain")
    assert form.files["file"].content == content


@each("kind", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b"])
def test_what_is_no_form_is_an_empty_one(kind):
    form = read_form(kind, b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\nx\r\n--b--')

    assert (form.fields, form.files) == ({}, {})


@through_each_door
def test_the_query_comes_through_every_door(door):
    emulator = Emulator()

    door(emulator)(path="/models?label=a&label=b%20c&q=", method="GET")

    assert emulator.requests[0].path == "/studio/v1/models"
    assert emulator.requests[0].params == {"label": ["a", "b c"], "q": [""]}


@through_each_door
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


@through_each_door
def test_the_older_server_knows_the_older_models_only(door, chat):
    send = door(Emulator(era="2024"))

    assert send(chat(model="jamba-1.5-mini")).status == 200
    assert send(chat(model="jamba-mini")).status == 422
    assert send(path="/models", method="GET").status == 404


# --- What is remembered ----------------------------------------------------------------------


def test_of_runs_the_latest_are_kept_and_those_in_progress_longest() -> None:
    emulator = Emulator(brain=lambda request: "Hi", pending_looks=1)
    emulator.state(Runs).most = 3
    with httpx.Client(transport=emulator.transport(), base_url=BASE_URL, headers=KEY) as http:

        def start() -> str:
            return str(http.post("/maestro/runs", json={"input": "Hi"}).json()["id"])

        def look(name: str) -> int:
            return http.get(f"/maestro/runs/{name}").status_code

        first, second, third = start(), start(), start()
        assert look(second) == 200  # and it has ended
        start()
        assert [look(name) for name in (first, second, third)] == [200, 404, 200]
        emulator.state(Runs).most = 1
        last = start()
        assert [look(name) for name in (first, third, last)] == [404, 404, 200]


def test_of_batches_the_latest_are_kept_and_have_times_of_their_own() -> None:
    emulator = Emulator(brain=lambda request: "Hi")
    emulator.state(Batches).most = 2
    row = {"custom_id": "a", "method": "POST", "url": ENDPOINT, "body": {}}
    with httpx.Client(transport=emulator.transport(), base_url=BASE_URL, headers=KEY) as http:
        for _ in range(4):
            files = {"file": ("b.jsonl", json.dumps(row).encode(), "application/jsonl")}
            made = http.post("/batches", files=files, data={"endpoint": ENDPOINT}).json()
        listed = http.get("/batches").json()

    assert listed[0]["id"] == made["id"]
    assert [one["created_at"] - CREATED for one in listed] == [3, 2]


def test_a_library_that_is_full_takes_no_further_file() -> None:
    emulator = Emulator()
    emulator.state(Library).largest = 10
    with httpx.Client(transport=emulator.transport(), base_url=BASE_URL, headers=KEY) as http:
        answers = [
            http.post("/library/files", files={"file": (f"{name}.txt", b"123456", "text/plain")})
            for name in "ab"
        ]

    assert [answer.status_code for answer in answers] == [200, 422]
    assert "more than 10 bytes" in answers[1].text
