"""The emulator's file library and search, as raw requests and as AI21's own SDK see them."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ai21
import httpx
import pytest
from ai21.errors import BadRequest

from ai21_chains.emulator import Emulator
from ai21_chains.emulator.library import LARGEST
from tests.cases import each

BASE_URL = "https://api.ai21.com/studio/v1"
HOUSE = b"""# House rules

Guests may stay for three nights.

The kitchen closes at midnight.
"""

Http = Callable[..., httpx.Client]


@pytest.fixture
def http() -> Iterator[Http]:
    """A function that connects to an emulator."""
    opened: list[httpx.Client] = []

    def connect(emulator: Emulator | None = None, key: str = "any") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        transport = (emulator or Emulator()).transport()
        opened.append(httpx.Client(transport=transport, base_url=BASE_URL, headers=headers))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


def upload(
    client: httpx.Client, name: str = "house.md", content: bytes = HOUSE, **fields: Any
) -> httpx.Response:
    kind = fields.pop("kind", "text/markdown")
    return client.post("/library/files", files={"file": (name, content, kind)}, data=fields)


def search(client: httpx.Client, query: str, **body: Any) -> list[dict[str, Any]]:
    return client.post("/library/search", json={"query": query, **body}).json()["results"]


# --- Files -----------------------------------------------------------------------------------


def test_an_upload_is_answered_with_its_id_under_both_of_its_names(http: Http) -> None:
    answer = upload(http())

    assert answer.status_code == 200
    assert answer.json()["id"] == answer.json()["fileId"]


def test_a_file_is_shown_with_what_it_was_given(http: Http) -> None:
    client = http()
    file_id = upload(client, labels=["a", "b"], path="x/", publicUrl="https://x.y").json()["id"]

    shown = client.get(f"/library/files/{file_id}").json()

    assert shown == {
        "fileId": file_id,
        "name": "house.md",
        "fileType": "text/markdown",
        "sizeBytes": len(HOUSE),
        "createdBy": shown["createdBy"],
        "creationDate": "2026-01-05",
        "lastUpdated": "2026-01-05",
        "status": "PROCESSED",
        "path": "x/",
        "labels": ["a", "b"],
        "publicUrl": "https://x.y",
        "dataSource": "local",
        "errorCode": None,
        "errorMessage": None,
    }


def test_a_file_is_processed_after_as_many_looks_as_the_emulator_says(http: Http) -> None:
    client = http(Emulator(pending_looks=2))
    file_id = upload(client).json()["id"]

    assert search(client, "kitchen") == []
    refused = client.delete(f"/library/files/{file_id}")
    assert refused.status_code == 422
    seen = [client.get(f"/library/files/{file_id}").json()["status"] for _ in range(3)]
    assert seen == ["PROCESSING", "PROCESSING", "PROCESSED"]
    assert len(search(client, "kitchen")) == 1
    assert client.delete(f"/library/files/{file_id}").status_code == 200
    assert client.get(f"/library/files/{file_id}").status_code == 404


@each(
    ("params", "names"),
    [
        ({}, ["a.md", "b.md", "c.md"]),
        ({"name": "b.md"}, ["b.md"]),
        ({"name": "b"}, []),
        ({"path": "x"}, ["a.md", "b.md"]),
        ({"label": ["one"]}, ["a.md", "c.md"]),
        ({"label": ["one", "two"]}, ["c.md"]),
        ({"status": "PROCESSED", "label": "one", "path": "x"}, ["a.md"]),
        ({"status": "UPLOADED"}, []),
        ({"limit": 2}, ["a.md", "b.md"]),
        ({"limit": 2, "offset": 2}, ["c.md"]),
    ],
    ids=["all", "name", "part", "path", "label", "labels", "several", "status", "limit", "offset"],
)
def test_files_are_listed_by_all_filters_at_once(
    http: Http, params: dict[str, Any], names: list[str]
) -> None:
    client = http()
    upload(client, "a.md", path="x/1", labels=["one"])
    upload(client, "b.md", path="x/2")
    upload(client, "c.md", labels=["one", "two"])

    listed = client.get("/library/files", params=params).json()

    assert [file["name"] for file in listed] == names


def test_an_update_changes_what_it_names(http: Http) -> None:
    client = http()
    file_id = upload(client, labels=["a"], publicUrl="https://x.y").json()["id"]

    assert client.put(f"/library/files/{file_id}", json={"labels": ["b"]}).status_code == 200

    shown = client.get(f"/library/files/{file_id}").json()
    assert (shown["labels"], shown["publicUrl"]) == (["b"], "https://x.y")


@each(
    ("given", "words"),
    [
        ({"kind": "image/png"}, "Invalid file type: image/png. Supported file types are: text/p"),
        ({"content": b""}, "is empty"),
        ({"content": b"x" * (LARGEST + 1)}, "the limit is 5000000"),
        ({"labels": [str(number) for number in range(21)]}, "more than 20 labels"),
        ({"name": "known.md"}, "named known.md already"),
    ],
    ids=["type", "empty", "large", "labels", "name"],
)
def test_what_the_library_does_not_take_is_refused(
    http: Http, given: dict[str, Any], words: str
) -> None:
    client = http()
    upload(client, "known.md")

    answer = upload(client, **given)

    assert answer.status_code == 422
    assert words in answer.json()["detail"]


@each(
    ("method", "where", "body", "status"),
    [
        ("POST", "/library/files", {}, 422),
        ("GET", "/library/files?limit=many", None, 422),
        ("GET", "/library/files/none", None, 404),
        ("PUT", "/library/files/none", {"labels": []}, 404),
        ("DELETE", "/library/files/none", None, 404),
        ("POST", "/library/search", {}, 422),
        ("POST", "/library/search", {"query": "x", "maxSegments": 0}, 422),
        ("PATCH", "/library/files", None, 405),
    ],
)
def test_what_cannot_be_done_has_its_status(
    http: Http, method: str, where: str, body: Any, status: int
) -> None:
    answer = http().request(method, where, json=body)

    assert (answer.status_code, list(answer.json())) == (status, ["detail"])


@each(
    ("method", "where"),
    [
        ("POST", "/library/files"),
        ("GET", "/library/files"),
        ("GET", "/library/files/x"),
        ("PUT", "/library/files/x"),
        ("GET", "/library/batches/x/status"),
        ("POST", "/library/search"),
    ],
)
def test_without_a_known_key_the_library_answers_400(http: Http, method: str, where: str) -> None:
    answer = http(Emulator(api_keys=["good"]), key="bad").request(method, where)

    assert answer.status_code == 400
    assert answer.json() == {"detail": "Bad request: bad or missing authentication."}


# --- Search ----------------------------------------------------------------------------------


def test_a_search_finds_the_segment_with_its_file(http: Http) -> None:
    client = http()
    long = b"\n\n".join(b"Paragraph %d speaks of nothing at all. " % n * 9 for n in range(8))
    upload(client, "other.txt", long, kind="text/plain; charset=utf-8")
    file_id = upload(client, labels=["l"], publicUrl="https://x.y").json()["id"]

    (found,) = search(client, "When does the kitchen close?")

    assert 0 < found.pop("score") < 1
    assert found == {
        "text": HOUSE.decode().strip(),
        "fileId": file_id,
        "fileName": "house.md",
        "order": 0,
        "publicUrl": "https://x.y",
        "labels": ["l"],
    }
    assert [row["order"] for row in search(client, "paragraph 7")][:1] == [3]


def test_the_best_segments_come_first_and_no_more_than_are_wanted(http: Http) -> None:
    client = http()
    for number in range(4):
        upload(client, f"{number}.txt", b"Tea. " * number + b"Coffee and cake.", kind="text/plain")

    scores = [row["score"] for row in search(client, "tea")]

    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert len(search(client, "tea", maxSegments=2)) == 2
    least = search(client, "tea", retrievalSimilarityThreshold=scores[0])
    assert min(row["score"] for row in least) == scores[0]


@each(
    ("filters", "names"),
    [
        ({"labels": ["one", "two"]}, {"a.md", "b.md"}),
        ({"labels": []}, set()),
        ({"path": "x/"}, {"a.md", "c.md"}),
        ({"path": "x/", "labels": ["one"]}, {"a.md"}),
        ({"labels": None, "path": None}, {"a.md", "b.md", "c.md"}),
    ],
    ids=["labels", "no label", "path", "both", "null"],
)
def test_a_search_keeps_to_its_filters(http: Http, filters: Any, names: set[str]) -> None:
    client = http()
    upload(client, "a.md", labels=["one"], path="x/1")
    upload(client, "b.md", labels=["two"], path="y")
    chosen = upload(client, "c.md", path="x/2").json()["id"]

    assert {row["fileName"] for row in search(client, "kitchen", **filters)} == names
    assert [row["fileName"] for row in search(client, "kitchen", fileIds=[chosen])] == ["c.md"]


def docx(text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as document:
        document.writestr("word/document.xml", f"<w:p><w:t>{text}</w:t></w:p>")
    return content.getvalue()


WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PAGE = b"<style>kitchen</style><h1>Rules</h1><p>The <b>kitchen</b> &amp; bar close.</p>"


@each(
    ("kind", "content", "status", "texts"),
    [
        ("text/html", PAGE, "PROCESSED", ["Rules\n\nThe kitchen & bar close."]),
        (WORD, docx("The kitchen closes."), "PROCESSED", ["The kitchen closes."]),
        (WORD, b"The kitchen", "PARSING_FAILED", []),
        ("text/plain", b"The kitchen \xff", "PARSING_FAILED", []),
        ("application/pdf", b"%PDF kitchen", "PROCESSED", []),
    ],
    ids=["html", "docx", "no docx", "no utf-8", "pdf"],
)
def test_each_kind_of_file_is_read_as_far_as_it_can_be(
    http: Http, kind: str, content: bytes, status: str, texts: list[str]
) -> None:
    client = http()
    file_id = upload(client, "a", content, kind=kind).json()["id"]
    shown = client.get(f"/library/files/{file_id}").json()

    assert shown["status"] == status
    assert bool(shown["errorMessage"]) is status.endswith("FAILED")
    assert [row["text"] for row in search(client, "kitchen")] == texts


# --- AI21's SDK ------------------------------------------------------------------------------

# The SDK gives httpx bodies in a deprecated way, and leaves uploaded files open.
sdk = pytest.mark.filterwarnings(
    "ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning",
    "ignore:unclosed file:ResourceWarning",
)


@pytest.fixture
def sdk_client() -> Iterator[Callable[..., ai21.AI21Client]]:
    """A function that makes the SDK's client."""
    with httpx.Client(verify=False) as http_client:

        def make(url: str, key: str = "k") -> ai21.AI21Client:
            return ai21.AI21Client(api_key=key, api_host=url, http_client=http_client)

        yield make


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "notes.txt"
    path.write_bytes(HOUSE)
    yield path
    gc.collect()  # a file that hangs in a cycle is closed here, where that is no error


@sdk
def test_the_sdk_manages_files(notes: Path, sdk_client: Callable[..., ai21.AI21Client]) -> None:
    with Emulator(pending_looks=1).serve() as server:
        files = sdk_client(server.base_url).library.files
        file_id = files.create(notes, labels=["a", "b"], path="x/", batch_id="77")

        assert files.get(file_id).status == "PROCESSING"
        counted = files.get_batch_status("77")
        assert (counted.total_documents, counted.statuses[0].status) == (1, "PROCESSED")
        files.update(file_id, labels=["c"], public_url="https://x.y")
        (listed,) = files.list(limit=5, offset=0)
        assert (listed.file_id, listed.labels, listed.public_url) == (
            file_id,
            ["c"],
            "https://x.y",
        )
        files.delete(file_id)
        assert files.list() == []


@sdk
def test_the_async_sdk_manages_files(notes: Path) -> None:
    async def manage(url: str) -> list[Any]:
        async with httpx.AsyncClient(verify=False) as http_client:
            client = ai21.AsyncAI21Client(api_key="k", api_host=url, http_client=http_client)
            files = client.library.files
            file_id = await files.create(str(notes), labels=["a"])
            await files.update(file_id, labels=["b"])
            found = await files.get(file_id)
            listed = await files.list()
            await files.delete(file_id)
            return [found.status, found.labels, len(listed), await files.list()]

    with Emulator().serve() as server:
        assert asyncio.run(manage(server.base_url)) == ["PROCESSED", ["b"], 1, []]


def test_the_sdk_hears_of_a_wrong_key(sdk_client: Callable[..., ai21.AI21Client]) -> None:
    with Emulator(api_keys=["good"]).serve() as server:
        client = sdk_client(server.base_url, "bad")
        with pytest.raises(BadRequest, match="missing authentication"):
            client.library.files.list()


@sdk
def test_the_sdk_has_no_search_but_its_client_reaches_it(
    notes: Path, sdk_client: Callable[..., ai21.AI21Client]
) -> None:
    with Emulator().serve() as server:
        client = sdk_client(server.base_url)
        client.library.files.create(notes)

        answer = client.execute_http_request(
            "POST", "/library/search", body={"query": "kitchen", "maxSegments": 1}
        )

    assert json.loads(answer.text)["results"][0]["fileName"] == "notes.txt"
