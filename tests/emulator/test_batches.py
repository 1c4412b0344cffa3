"""The emulator's batches, as raw requests and as AI21's own SDK see them."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ai21
import httpx
import pytest
from ai21.errors import AI21APIError, Unauthorized

from ai21_chains.emulator import Emulator, EmulatorError
from ai21_chains.emulator.batches import Batches
from tests.cases import each

BASE_URL = "https://api.ai21.com/studio/v1"
ENDPOINT = "/v1/chat/completions"


def shout(request: dict[str, Any]) -> str:
    said: str = request["messages"][-1]["content"]
    if said == "fail":
        raise EmulatorError("nothing to say")
    return said.upper()


def line(name: Any, text: str = "hi", **changes: Any) -> dict[str, Any]:
    body = {"model": "jamba-mini", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body, **changes}


def jsonl(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


class Api:
    """The endpoints of batches on one emulator."""

    def __init__(self, emulator: Emulator | None = None, key: str = "any") -> None:
        self.emulator = emulator or Emulator(brain=shout)
        headers = {"Authorization": f"Bearer {key}"}
        transport = self.emulator.transport()
        self.http = httpx.Client(transport=transport, base_url=BASE_URL, headers=headers)

    def create(self, content: bytes, **fields: Any) -> httpx.Response:
        files = {"file": ("b.jsonl", content, "application/jsonl")}
        return self.http.post("/batches", files=files, data={"endpoint": ENDPOINT, **fields})

    def started(self, *rows: Any) -> str:
        batch_id: str = self.create(jsonl(*rows)).json()["id"]
        return batch_id

    def get(self, batch_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.http.get(f"/batches/{batch_id}").json()
        return shown

    def rows(self, batch_id: str, kind: str = "output", **params: Any) -> list[dict[str, Any]]:
        answer = self.http.get(f"/batches/{batch_id}/results", params={"file_type": kind, **params})
        assert answer.headers["content-type"] == "application/jsonl"
        return [json.loads(row) for row in answer.text.splitlines()]


def test_a_batch_begins_pending_and_ends_with_its_files() -> None:
    api = Api()
    begun = api.create(jsonl(line("a"), line("b")), metadata='{"for": "tests"}').json()
    ended = api.get(begun["id"])

    assert begun == {
        "id": begun["id"],
        "status": "PENDING",
        "endpoint": ENDPOINT,
        "created_at": begun["created_at"],
        "completed_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 2, "completed": 0, "failed": 0},
        "metadata": {"for": "tests"},
        "output_file": None,
        "error_file": None,
    }
    assert (ended["status"], ended["request_counts"]["completed"]) == ("COMPLETED", 2)
    assert (bool(ended["output_file"]), bool(ended["error_file"])) == (True, False)


def test_rows_are_done_by_the_brain_and_keep_their_names() -> None:
    api = Api()
    batch_id = api.started(line("a", "one"), line("b", "two"))
    api.get(batch_id)

    rows = api.rows(batch_id)

    assert [row["custom_id"] for row in rows] == ["a", "b"]
    said = [row["response"]["body"]["choices"][0]["message"]["content"] for row in rows]
    assert said == ["ONE", "TWO"]
    assert {row["response"]["status_code"] for row in rows} == {200}
    assert rows[0]["response"]["body"]["usage"]["completion_tokens"] == 1


@each(
    ("row", "status", "words"),
    [
        (line("x", "fail"), 400, "Emulator: nothing to say"),
        (line("x", body={"model": "j2-mid", "messages": []}), 422, "model is not supported"),
        (line("x", body={"model": "jamba-mini"}), 422, "field required"),
        (line("x", body=None), 422, "not a valid dict"),
        (line("x", url="/v1/complete"), 422, "should be a POST to"),
        (line("x", body={**line("x")["body"], "stream": True}), 422, "stream must be false"),
    ],
    ids=["brain", "model", "no messages", "no body", "url", "stream"],
)
def test_a_bad_row_fails_alone_with_the_error_of_chat(row: Any, status: int, words: str) -> None:
    api = Api()
    batch_id = api.started(line("a"), row, line("b"))

    assert api.get(batch_id)["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    (failed,) = api.rows(batch_id, "error")
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("x", status)
    assert words in json.dumps(failed["response"]["body"]["detail"])
    assert len(api.rows(batch_id)) == 2


@each(
    ("content", "words"),
    [
        (b"", "no requests"),
        (b"\n \n", "no requests"),
        (b"{}\nx", "Line 1: custom_id: field required"),
        (jsonl(line("a")) + b"\n{", "Line 2 is not JSON"),
        (jsonl(line("a"), line("a")), "custom_id a is not unique"),
        (jsonl(line(7)), "Line 1: custom_id: str type expected"),
        (jsonl([]), "not a valid dict"),
    ],
    ids=["empty", "blank", "no id", "no json", "twice", "number", "list"],
)
def test_rows_that_cannot_be_named_are_refused(content: bytes, words: str) -> None:
    answer = Api().create(content)

    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_other_endpoints_and_missing_parts_are_refused() -> None:
    api = Api()

    assert api.create(jsonl(line("a")), endpoint="/v1/embed").status_code == 422
    assert len(api.http.post("/batches").json()["detail"]) == 2


def test_rows_are_done_little_by_little() -> None:
    api = Api(Emulator(brain=shout, pending_looks=2))
    batch_id = api.started(*(line(str(number)) for number in range(6)))

    seen = [api.get(batch_id) for _ in range(4)]

    assert [one["request_counts"]["completed"] for one in seen] == [2, 4, 6, 6]
    assert [one["status"] for one in seen] == ["PROCESSING"] * 2 + ["COMPLETED"] * 2


def test_a_cancelled_batch_keeps_what_was_done() -> None:
    api = Api(Emulator(brain=shout, pending_looks=1))
    batch_id = api.started(line("a"), line("b"))
    api.get(batch_id)

    cancelled = api.http.post(f"/batches/{batch_id}/cancel").json()

    assert (cancelled["status"], cancelled["completed_at"]) == ("CANCELLED", None)
    assert cancelled["cancelled_at"] > cancelled["created_at"]
    assert api.get(batch_id) == api.http.post(f"/batches/{batch_id}/cancel").json() == cancelled
    assert [row["custom_id"] for row in api.rows(batch_id)] == ["a"]


@each(("end", "done"), [("EXPIRED", 1), ("FAILED", 0), ("STALE", 1)])
def test_a_batch_can_be_made_to_end_otherwise(end: str, done: int) -> None:
    api = Api(Emulator(brain=shout, pending_looks=1))
    api.emulator.state(Batches).ends_as = end
    batch_id = api.started(line("a"), line("b"))

    seen = [api.get(batch_id) for _ in range(2)]

    assert seen[-1]["status"] == end
    assert seen[-1]["request_counts"]["completed"] == done


def test_results_of_an_open_batch_need_force() -> None:
    api = Api(Emulator(brain=shout, pending_looks=1))
    batch_id = api.started(line("a"), line("b"))
    api.get(batch_id)

    assert api.http.get(f"/batches/{batch_id}/results").status_code == 422
    assert len(api.rows(batch_id, force=True)) == 1
    nothing = api.http.get(f"/batches/{batch_id}/results?file_type=error&force=true")
    assert nothing.status_code == 404


def test_batches_are_listed_newest_first_page_by_page() -> None:
    api = Api()
    one, two, three = (api.started(line("a")) for _ in range(3))

    def listed(**params: Any) -> list[str]:
        return [batch["id"] for batch in api.http.get("/batches", params=params).json()]

    assert listed() == [three, two, one]
    assert listed(limit=2) == [three, two]
    assert listed(after=two) == [one]
    assert listed(after=one) == []
    assert api.http.get("/batches", params={"limit": 101}).status_code == 422


@each("where", ["", "/results"])
def test_an_unknown_batch_is_not_found(where: str) -> None:
    assert Api().http.get(f"/batches/none{where}").status_code == 404


@each(
    ("method", "where"),
    [("POST", ""), ("GET", ""), ("GET", "/x"), ("POST", "/x/cancel"), ("GET", "/x/results")],
)
def test_without_a_known_key_batches_answer_401(method: str, where: str) -> None:
    api = Api(Emulator(api_keys=["good"]), key="bad")

    assert api.http.request(method, f"/batches{where}").status_code == 401


# --- AI21's SDK ------------------------------------------------------------------------------

# The SDK leaves uploaded files open.
sdk = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture
def client() -> Iterator[Callable[..., ai21.AI21Client]]:
    """A function that makes the SDK's client."""
    with httpx.Client(verify=False) as http_client:

        def make(url: str, key: str = "k") -> ai21.AI21Client:
            return ai21.AI21Client(api_key=key, api_host=url, http_client=http_client)

        yield make


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(line("a"), line("b", "fail")))
    yield path
    gc.collect()  # a file that hangs in a cycle is closed here, where that is no error


@sdk
def test_the_sdk_runs_a_batch(rows: Path, client: Callable[..., ai21.AI21Client]) -> None:
    with Emulator(brain=shout, pending_looks=1).serve() as server:
        batches = client(server.base_url).beta.batches
        batch = batches.create(rows, endpoint=ENDPOINT)

        assert (batch.status, batch.request_counts.total) == ("PENDING", 2)
        assert batches.retrieve(batch.id).status == "PROCESSING"
        assert batches.retrieve(batch.id).status == "COMPLETED"
        assert b'"HI"' in batches.get_results(batch.id).content
        failed = batches.get_results(batch.id, file_type="error", force=True)
        assert [json.loads(row)["custom_id"] for row in failed.iter_lines()] == ["b"]
        other = batches.create(rows, endpoint=ENDPOINT)
        assert batches.cancel(other.id)["status"] == "CANCELLED"
        assert [one.id for page in batches.list(limit=1) for one in page] == [other.id, batch.id]


@sdk
def test_the_async_sdk_runs_a_batch(rows: Path) -> None:
    async def drive(url: str) -> list[Any]:
        async with httpx.AsyncClient(verify=False) as http_client:
            api = ai21.AsyncAI21Client(api_key="k", api_host=url, http_client=http_client)
            batches = api.beta.batches
            batch = await batches.create(rows, endpoint=ENDPOINT)
            ended = await batches.retrieve(batch["id"])
            found = await batches.get_results(batch["id"], file_type="output")
            pages = [page async for page in await batches.list()]
            await batches.cancel(batch["id"])
            return [ended["status"], b'"HI"' in found.content, len(pages)]

    with Emulator(brain=shout).serve() as server:
        assert asyncio.run(drive(server.base_url)) == ["COMPLETED", True, 1]


def test_the_sdk_hears_of_what_is_refused(client: Callable[..., ai21.AI21Client]) -> None:
    with Emulator(api_keys=["good"]).serve() as server:
        with pytest.raises(AI21APIError, match="Batch not found"):
            client(server.base_url, "good").beta.batches.retrieve("x")
        with pytest.raises(Unauthorized, match="Apikey/JWT"):
            client(server.base_url, "bad").beta.batches.retrieve("x")
