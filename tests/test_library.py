"""`AI21FileLibrary` and `AI21LibraryRetriever`, on the emulator and on a scripted server."""

from __future__ import annotations

import asyncio
import io
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests

from ai21_chains.emulator import Emulator, Fault
from ai21_chains.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    DocumentError,
    NotFoundError,
    ResponseFormatError,
    UnprocessableEntityError,
)
from ai21_chains.library import AI21FileLibrary, AI21LibraryRetriever, LibraryFile
from tests.cases import each
from tests.servers.calls import DONE, Do
from tests.servers.scripted import CUT, HOLD, RESET, Received, answer, fails, scripted

HOUSE = b"# House rules\n\nGuests may stay for three nights.\n\nThe kitchen closes at midnight."
FILE = {"fileId": "f1", "name": "a.txt", "status": "PROCESSED"}


@pytest.fixture(params=DONE, ids=["sync", "async"])
def act(request: pytest.FixtureRequest) -> Do:
    """Call a method of a library by its name, or the async form of it."""
    return request.param


def on(emulator: Emulator, **settings: Any) -> AI21FileLibrary:
    transport = emulator.transport()
    return AI21FileLibrary(
        api_key="k-0123456789abc",
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
        **settings,
    )


def at(server: Any, **settings: Any) -> AI21FileLibrary:
    return AI21FileLibrary(base_url=server.url, api_key="k-0123456789abc", **settings)


# --- Settings --------------------------------------------------------------------------------


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI21_API_KEY", "from-the-environment")
    monkeypatch.setenv("AI21_API_HOST", "https://gate.example/studio/v1/")
    emulator = Emulator(api_keys=["from-the-environment"])

    library = AI21FileLibrary(http_client=httpx.Client(transport=emulator.transport()))

    assert list(library.list()) == []
    assert library.client.base_url == "https://gate.example/studio/v1"
    assert "from-the-environment" not in repr(library)


def test_a_library_is_a_value() -> None:
    library = AI21FileLibrary(api_key="k", max_retries=5)

    assert (
        pickle.loads(pickle.dumps(library))
        == library
        == AI21FileLibrary(api_key="k", max_retries=5)
    )
    with pytest.raises(AttributeError):
        library.client = None  # type: ignore[misc]


@each(
    ("settings", "words"),
    [
        ({"apikey": "k"}, "unknown argument 'apikey'. Did you mean 'api_key'"),
        ({"zzz": 1}, "unknown argument 'zzz'. It takes api_key"),
        ({"base_url": "ftp://x"}, "base_url should be an address"),
        ({"max_retries": -1}, "max_retries should be greater than or equal to 0, got -1"),
        ({"base_url": "https://x", "api_host": "https://y"}, "base_url is given twice"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        AI21FileLibrary(**settings)


@each("act", DONE)
def test_without_a_key_nothing_is_sent(act: Do) -> None:
    emulator = Emulator()
    transport = emulator.transport()
    library = AI21FileLibrary(
        http_client=httpx.Client(transport=transport),
        http_async_client=httpx.AsyncClient(transport=transport),
    )
    with pytest.raises(ConfigurationError, match="AI21_API_KEY"):
        act(library, "get", "x")

    assert not emulator.requests


@each("act", DONE)
def test_a_key_that_is_not_known_is_an_error_without_the_key(act: Do) -> None:
    with pytest.raises(BadRequestError, match="bad or missing authentication") as caught:
        act(on(Emulator(api_keys=["good"])), "get", "x")

    assert "0123" not in str(caught.value)


# --- Uploads ---------------------------------------------------------------------------------


def test_a_file_goes_up_with_all_that_is_said_of_it(act: Do, tmp_path: Path) -> None:
    (tmp_path / "house.md").write_bytes(HOUSE)
    emulator = Emulator()
    library = on(emulator)
    given = {"path": "x/", "labels": ["a", "b"], "public_url": "https://x.y"}

    file_id = act(library, "upload", tmp_path / "house.md", **given)

    sent = emulator.requests[0].form
    assert sent.fields == {"path": ["x/"], "labels": ["a", "b"], "publicUrl": ["https://x.y"]}
    assert (sent.files["file"].name, sent.files["file"].content) == ("house.md", HOUSE)
    file = act(library, "get", file_id)
    assert isinstance(file, LibraryFile)
    assert (file.id, file.labels, file.public_url) == (file_id, ("a", "b"), "https://x.y")
    assert (file.file_type, file.size_bytes) == ("text/markdown", len(HOUSE))
    assert file.creation_date is not None
    assert file.creation_date.year == 2026


def named(content: bytes, name: str) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name
    return file


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


@each(
    ("file", "options", "name", "kind"),
    [
        (b"x", {"name": "a.txt"}, "a.txt", "text/plain"),
        (b"x", {"name": "A.PDF"}, "A.PDF", "application/pdf"),
        (b"x", {"name": "notes", "media_type": "text/html"}, "notes", "text/html"),
        (io.BytesIO(b"x"), {"name": "é.htm"}, "é.htm", "text/html"),
        (named(b"x", "/home/me/b.md"), {}, "b.md", "text/markdown"),
        (named(b"x", "/home/me/b.md"), {"name": "c.txt"}, "c.txt", "text/plain"),
        (Pipe(b"x"), {"name": "pipe.txt"}, "pipe.txt", "text/plain"),
    ],
)
def test_whatever_holds_bytes_can_go_up(file: Any, options: Any, name: str, kind: str) -> None:
    emulator = Emulator()

    on(emulator).upload(file, **options)

    sent = emulator.requests[0].form.files["file"]
    assert (sent.name, sent.kind, sent.content) == (name, kind, b"x")


@each("act", DONE)
@each(
    ("file", "options", "words"),
    [
        (b"x", {}, "name is needed"),
        (b"x", {"name": "a"}, "type of 'a' is not known by its ending; pass media_type"),
        (b"", {"name": "a.txt"}, "a.txt is empty"),
        ("none/a.txt", {}, "none/a.txt cannot be read: No such file"),
        (io.StringIO("x"), {"name": "a.txt"}, "open in binary mode"),
        (b"x", {"name": "a.txt", "labels": "one"}, r"labels should be a list: \['one'\]"),
    ],
)
def test_what_cannot_go_up_is_refused_before_anything_is_sent(
    act: Do, file: Any, options: Any, words: str
) -> None:
    emulator = Emulator()
    with pytest.raises((ConfigurationError, DocumentError), match=words):
        act(on(emulator), "upload", file, **options)

    assert not emulator.requests


@each("act", DONE)
def test_progress_is_told_as_the_file_is_sent(act: Do) -> None:
    told: list[tuple[int, int]] = []
    with Emulator().serve() as server:
        library = AI21FileLibrary(base_url=server.base_url, api_key="k")
        act(library, "upload", b"x" * 150_000, name="a.txt", progress=lambda *one: told.append(one))

    assert told == [(65_536, 150_000), (131_072, 150_000), (150_000, 150_000)]


@each("act", DONE)
def test_an_upload_that_was_refused_for_now_is_sent_again_whole(act: Do) -> None:
    emulator = Emulator(faults=[Fault(status=429, headers={"Retry-After": "0"})])
    told: list[int] = []

    act(on(emulator), "upload", HOUSE, name="a.md", progress=lambda sent, _: told.append(sent))

    assert [one.form.files["file"].content for one in emulator.requests] == [HOUSE, HOUSE]
    assert told == [len(HOUSE), len(HOUSE)]


AMBIGUOUS = {
    "closed": [CUT],
    "reset": [RESET],
    "half an answer": [b'HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{"id"', CUT],
    "500": fails("500 Internal Server Error"),
    "504": fails("504 Gateway Timeout"),
}


@each("act", DONE)
@each("failure", AMBIGUOUS.values())
def test_an_upload_that_may_have_arrived_is_not_repeated(act: Do, failure: Any) -> None:
    with scripted(failure, answer({"id": "f"})) as server:
        with pytest.raises((APIConnectionError, APIStatusError)) as caught:
            act(at(server), "upload", HOUSE, name="house.md")

        assert len(server.requests) == 1
    assert str(caught.value).endswith(
        "The server may have done it: look before you repeat it (with list(name='house.md'))"
    )
    assert "\n" not in str(caught.value)


@each("act", DONE)
@each("cut", [0, 70_000])
def test_an_upload_that_is_cut_is_a_clear_error(act: Do, cut: int) -> None:
    # The server closes the connection while the file is still being sent.
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(cut or 1)
        writer.transport.abort()

    with treating(hang_up) as url:
        library = AI21FileLibrary(base_url=url, api_key="k")
        with pytest.raises(APIConnectionError, match=r"POST http.*/library/files failed: .*look"):
            act(library, "upload", b"x" * 20_000_000, name="big.txt")


@contextmanager
def treating(each: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> Iterator[str]:
    """A server on a thread that treats each connection in this way; gives its address."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(each, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@each("act", DONE)
def test_what_the_server_does_not_take_is_its_own_error(act: Do) -> None:
    with pytest.raises(UnprocessableEntityError, match=r"file type: image/png\. Supported"):
        act(on(Emulator()), "upload", b"x", name="a.png")


@each("act", DONE)
@each("body", [{}, [], {"id": None}])
def test_an_upload_without_an_id_says_how_to_find_it(act: Do, body: Any) -> None:
    with scripted(answer(body)) as server, pytest.raises(ResponseFormatError, match="with list"):
        act(at(server), "upload", b"x", name="a.txt")


@each("act", DONE)
@each("body", [{"id": "f"}, {"fileId": "f"}])
def test_the_id_is_read_under_either_name(act: Do, body: Any) -> None:
    with scripted(answer(body)) as server:
        assert act(at(server), "upload", b"x", name="a.txt") == "f"


# --- Files -----------------------------------------------------------------------------------


@each("act", DONE)
def test_files_are_listed_by_filters(act: Do) -> None:
    library = on(Emulator())
    for name, path, labels in (("a", "x/1", ["l"]), ("b", "x/2", ["l", "m"]), ("c", None, [])):
        library.upload(b"x", name=f"{name}.txt", path=path, labels=labels)

    def names(**filters: Any) -> str:
        return "".join(file.name[0] for file in act(library, "list", **filters))

    assert names() == "abc"
    assert names(path="x/") == "ab"
    assert names(labels=["l", "m"]) == "b"
    assert names(name="c.txt") == "c"
    assert names(status="PROCESSING") == ""
    with pytest.raises(ConfigurationError, match="should be a list"):
        names(labels="l")


def pages(size: int, total: int) -> Callable[[Received], Any]:
    """A server whose pages are smaller than what it is asked for."""

    def page(request: Received) -> Any:
        start = int(httpx.URL(request.target).params["offset"])
        numbers = range(start, min(start + size, total))
        return answer([{**FILE, "fileId": f"f{number}"} for number in numbers])

    return page


@each("act", DONE)
@each(("size", "total"), [(2, 5), (3, 3), (1, 0)])
def test_a_list_goes_on_to_the_last_page_whatever_the_size_of_a_page(
    act: Do, size: int, total: int
) -> None:
    with scripted(pages(size, total)) as server:
        files = act(at(server), "list")

    assert [file.id for file in files] == [f"f{number}" for number in range(total)]


@each("act", DONE)
def test_a_list_ends_where_the_server_knows_no_pages(act: Do) -> None:
    with scripted(answer([FILE])) as server:
        assert len(act(at(server), "list")) == 1

        assert len(server.requests) == 2


def test_pages_are_fetched_when_they_are_wanted() -> None:
    with scripted(pages(2, 6)) as server:
        files = at(server).list()
        assert not server.requests
        next(files), next(files)
        assert len(server.requests) == 1
        next(files)
        assert len(server.requests) == 2


@each("act", DONE)
def test_a_file_is_changed_and_deleted(act: Do) -> None:
    library = on(Emulator())
    file_id = library.upload(b"x", name="a.txt", labels=["a"])

    assert act(library, "update", file_id, labels=["b", "c"]) is None
    assert act(library, "update", file_id, public_url="https://x.y") is None
    assert library.get(file_id).labels == ("b", "c")
    assert library.get(file_id).public_url == "https://x.y"
    assert act(library, "update", file_id, labels=[]) is None
    assert library.get(file_id).labels == ()
    assert act(library, "delete", file_id) is None
    with pytest.raises(NotFoundError, match="File not found"):
        act(library, "get", file_id)


@each("act", DONE)
def test_a_change_of_nothing_is_refused(act: Do) -> None:
    with pytest.raises(ConfigurationError, match=r"pass labels=… or public_url=…"):
        act(on(Emulator()), "update", "x")


@each("act", DONE)
@each("what", ["get", "delete", "wait_until_processed"])
@each("file_id", ["", ".."])
def test_what_is_no_id_is_refused(act: Do, what: str, file_id: str) -> None:
    with pytest.raises(ConfigurationError, match="is no id"):
        act(on(Emulator()), what, file_id)


@each("act", DONE)
@each(
    ("body", "words"),
    [
        ({"name": "a"}, "fileId: Field required"),
        ([FILE], "valid dictionary"),
        ({**FILE, "sizeBytes": "many"}, "sizeBytes: "),
        (None, "valid dictionary"),
    ],
)
def test_what_is_no_file_is_an_error(act: Do, body: Any, words: str) -> None:
    with scripted(answer(body)) as server, pytest.raises(ResponseFormatError, match=words):
        act(at(server), "get", "f1")


@each("act", DONE)
def test_what_a_server_leaves_out_or_adds_does_no_harm(act: Do) -> None:
    more = {"labels": None, "creationDate": "2024-11-05T10:00:00Z", "errorCode": "E7", "new": 1}
    with scripted(answer({**FILE, **more})) as server:
        file = act(at(server), "get", "f1")

    assert (file.labels, str(file.creation_date), file.error_code) == ((), "2024-11-05", "E7")


# --- Waiting ---------------------------------------------------------------------------------


@each("act", DONE)
def test_a_file_is_waited_for_until_it_is_processed(act: Do) -> None:
    emulator = Emulator(pending_looks=2)
    library = on(emulator)
    file_id = library.upload(HOUSE, name="a.md")

    file = act(library, "wait_until_processed", file_id, poll_interval_sec=0.001)

    assert file.is_processed
    assert len(emulator.requests) == 4


@each("act", DONE)
def test_a_file_that_cannot_be_processed_is_an_error_that_says_why(act: Do) -> None:
    library = on(Emulator())
    file_id = library.upload(b"\xff", name="a.txt")
    with pytest.raises(DocumentError, match=r"a.txt \(file .*, PARSING_FAILED\): The file cannot"):
        act(library, "wait_until_processed", file_id)


@each("act", DONE)
def test_waiting_ends_in_time(act: Do) -> None:
    emulator = Emulator(pending_looks=10**6)
    library = on(emulator)
    file_id = library.upload(HOUSE, name="a.md")
    with pytest.raises(APITimeoutError, match=r"a.md .* is PROCESSING after 0.02 s. It goes on"):
        act(
            library,
            "wait_until_processed",
            file_id,
            poll_interval_sec=0.015,
            poll_timeout_sec=0.02,
        )

    assert len(emulator.requests) >= 2


@each("act", DONE)
@each("name", ["poll_interval_sec", "poll_timeout_sec"])
@each("value", [0, -1, float("inf"), float("nan")])
def test_a_pace_that_is_none_is_refused(act: Do, name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} should be above 0"):
        act(on(Emulator()), "wait_until_processed", "x", **{name: value})


def test_waiting_in_async_code_can_be_cancelled() -> None:
    async def wait() -> None:
        library = on(Emulator(pending_looks=10**6))
        file_id = await library.aupload(HOUSE, name="a.md")
        async with asyncio.timeout(0.02):
            await library.await_until_processed(file_id)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())


# --- Search ----------------------------------------------------------------------------------

TEXTS = ("Tea is hot.", "Tea with milk.", "Green tea.", "Black tea.", "Coffee.")


def stocked(**options: Any) -> AI21FileLibrary:
    library = on(Emulator(**options))
    for number, text in enumerate(TEXTS):
        library.upload(
            text.encode(), name=f"{number}.txt", labels=[f"l{number}"], path=f"p{number}"
        )
    return library


class TestStandard(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[AI21LibraryRetriever]:
        return AI21LibraryRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"library": stocked()}

    @property
    def retriever_query_example(self) -> str:
        return "tea"


def invoke(retriever: AI21LibraryRetriever, query: str, **options: Any) -> list[Document]:
    return retriever.invoke(query, **options)


def ainvoke(retriever: AI21LibraryRetriever, query: str, **options: Any) -> list[Document]:
    return asyncio.run(retriever.ainvoke(query, **options))


INVOKED = (invoke, ainvoke)


@each("ask", INVOKED)
def test_a_document_says_where_it_comes_from(ask: Do) -> None:
    library = on(Emulator())
    file_id = library.upload(HOUSE, name="house.md", labels=["l"], public_url="https://x.y")

    (found,) = ask(AI21LibraryRetriever(library=library), "When does the kitchen close?")

    assert found.page_content == HOUSE.decode()
    assert found.id == f"{file_id}:0"
    assert 0 < found.metadata.pop("score") < 1
    assert found.metadata == {
        "source": "house.md",
        "file_id": file_id,
        "order": 0,
        "public_url": "https://x.y",
        "labels": ["l"],
    }


@each("ask", INVOKED)
def test_what_else_the_server_sends_is_kept(ask: Do) -> None:
    result = {"text": "t", "fileName": "a.pdf", "pageNumber": 3, "public_url": None, "n": {"a": 1}}
    with scripted(answer({"id": "1", "results": [result]})) as server:
        (found,) = ask(AI21LibraryRetriever(library=at(server)), "x")

    assert found == Document("t", metadata={"source": "a.pdf", "page_number": 3, "n": {"a": 1}})


@each("ask", INVOKED)
def test_the_filters_are_those_of_the_constructor_and_of_the_call(ask: Do) -> None:
    library = stocked()
    retriever = AI21LibraryRetriever(library=library, k=3, labels=["l0", "l1"])
    wanted = next(library.list(name="3.txt")).id

    def sources(**options: Any) -> set[str]:
        return {found.metadata["source"] for found in ask(retriever, "tea", **options)}

    assert sources() == {"0.txt", "1.txt"}
    assert sources(labels=["l2"]) == {"2.txt"}
    assert sources(labels=None, path="p3") == {"3.txt"}
    assert sources(labels=None, file_ids=[wanted]) == {"3.txt"}
    assert len(sources(labels=None)) == 3
    assert len(sources(labels=None, k=1)) == 1


@each("ask", INVOKED)
def test_only_what_is_set_is_sent(ask: Do) -> None:
    with scripted(answer({"results": []})) as server:
        library = at(server)
        ask(AI21LibraryRetriever(library=library, k=4), "tea")
        more = {"retrievalSimilarityThreshold": 0.5, "retrievalStrategy": "add_neighbors"}
        ask(AI21LibraryRetriever(library=library, search_kwargs=more), "tea", file_ids=["f"])

    assert server.bodies == [
        {"query": "tea", "maxSegments": 4},
        {"query": "tea", "maxSegments": 10, "fileIds": ["f"], **more},
    ]


@each("ask", INVOKED)
def test_a_server_that_sends_more_than_was_wanted_is_cut_short(ask: Do) -> None:
    with scripted(answer({"results": [{"text": str(number)} for number in range(9)]})) as server:
        assert len(ask(AI21LibraryRetriever(library=at(server), k=2), "x")) == 2


@each("ask", INVOKED)
def test_a_search_is_repeated_where_it_failed(ask: Do) -> None:
    library = stocked(faults=[Fault(status=500, path="/search", headers={"Retry-After": "0"})])

    assert ask(AI21LibraryRetriever(library=library), "coffee")[0].page_content == "Coffee."


@each("ask", INVOKED)
@each(
    "body",
    [{}, [], None, {"results": {}}, {"results": [1]}, {"results": [{"text": 1}]}],
)
def test_what_is_no_result_is_an_error(ask: Do, body: Any) -> None:
    with scripted(answer(body)) as server, pytest.raises(ResponseFormatError, match="/search"):
        ask(AI21LibraryRetriever(library=at(server)), "x")


@each("ask", INVOKED)
@each(
    ("options", "words"),
    [
        ({"k": 0}, "k should be greater than or equal to 1, got 0"),
        ({"labels": "one"}, "labels"),
        ({"top_k": 3}, "unknown argument 'top_k'"),
        ({"library": "mine"}, "library should be an instance of AI21FileLibrary"),
    ],
)
def test_a_wrong_argument_is_refused_in_the_constructor_and_in_calls(
    ask: Do, options: dict[str, Any], words: str
) -> None:
    retriever = AI21LibraryRetriever(library=on(Emulator()))
    with pytest.raises(ConfigurationError, match=words):
        AI21LibraryRetriever(**options)
    with pytest.raises(ConfigurationError, match=words):
        ask(retriever, "x", **options)


@each("ask", INVOKED)
def test_a_search_that_gets_no_answer_is_an_error_of_ours(ask: Do) -> None:
    with scripted([HOLD]) as server:
        library = at(server, timeout=0.02, max_retries=0)
        with pytest.raises(APITimeoutError) as caught:
            ask(AI21LibraryRetriever(library=library), "x")

    assert isinstance(caught.value, APIError)
    assert "look before" not in str(caught.value)


def test_a_retriever_does_not_show_the_key() -> None:
    assert "0123" not in repr(AI21LibraryRetriever(library=on(Emulator())))
