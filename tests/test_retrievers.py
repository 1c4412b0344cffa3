"""Documents are found by their words, kept in files, and ranked together with other rankings."""

import asyncio
import copy
import io
import json
import logging
import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_tests.integration_tests import RetrieversIntegrationTests

from ai21_chains.errors import ConfigurationError, DocumentError, MissingExtraError
from ai21_chains.retrievers import BM25Retriever, fuse_retrievers, reciprocal_rank_fusion
from tests.cases import each

HOUSE = (
    "Guests may stay for three nights.",
    "Quiet hours are from ten at night until six in the morning.",
    "The kitchen closes at midnight; the guests' fridge is on the left.",
    "A guest who loses a key pays 40 euros.",
    "Parking is free.",
)

Ask = Callable[..., list[str]]


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def found(retriever: BaseRetriever, query: str, **options: Any) -> list[str]:
    return texts(retriever.invoke(query, **options))


@pytest.fixture(params=["invoke", "ainvoke", "search"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Every way to ask a retriever; each gives the texts of the documents."""

    def answer(retriever: BM25Retriever, query: str, **options: Any) -> list[str]:
        if request.param == "invoke":
            return texts(retriever.invoke(query, **options))
        if request.param == "ainvoke":
            return texts(asyncio.run(retriever.ainvoke(query, **options)))
        return texts([document for document, _ in retriever.search(query, **options)])

    return answer


class TestStandard(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BM25Retriever]:
        return BM25Retriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"documents": [Document(text) for text in HOUSE]}

    @property
    def retriever_query_example(self) -> str:
        return "guests"


# What is found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("losing keys", [HOUSE[3]], id="stems"),
        pytest.param("PARKING?", [HOUSE[4]], id="case and punctuation"),
        pytest.param("who is at the kitchen", [HOUSE[2], HOUSE[3]], id="common words do not count"),
        pytest.param("40", [HOUSE[3]], id="numbers"),
        pytest.param("zeppelin", [], id="unknown word"),
        pytest.param("the of and", [], id="common words only"),
        pytest.param("s", [], id="a word of which the stemmer leaves nothing"),
        pytest.param(" ?! ", [], id="no word"),
        pytest.param("", [], id="empty"),
    ],
)
def test_documents_that_share_a_word_with_the_query_are_found(
    ask: Ask, query: str, expected: list[str]
) -> None:
    assert ask(BM25Retriever.from_texts(HOUSE), query) == expected


def test_the_best_come_first_and_no_more_than_k(ask: Ask) -> None:
    retriever = BM25Retriever.from_texts(["tea milk", "tea tea", "milk", "tea"], k=2)

    assert ask(retriever, "tea") == ["tea tea", "tea"]
    assert ask(retriever, "tea", k=3) == ["tea tea", "tea", "tea milk"]
    assert ask(retriever, "tea", k=99) == ["tea tea", "tea", "tea milk"]


def test_twenty_documents_are_returned_unless_k_says_otherwise() -> None:
    assert len(BM25Retriever.from_texts(["tea"] * 30).invoke("tea")) == 20


def test_equally_good_documents_keep_their_order_and_repetitions() -> None:
    documents = [Document("tea", id=str(number)) for number in range(9)]
    retriever = BM25Retriever.from_documents(iter(documents), k=4)

    assert retriever.invoke("tea") == documents[:4]
    assert retriever.invoke("tea")[0] is documents[0]


def test_scores_are_those_of_bm25() -> None:
    retriever = BM25Retriever.from_texts(["tea", "milk milk"], k1=1.5, b=0.75)
    ((document, score),) = retriever.search("Milk!")

    # idf = ln(1 + (2 - 1 + 0.5) / (1 + 0.5)), tf = 2 / (2 + 1.5 * (0.25 + 0.75 * 2 / 1.5))
    assert score == pytest.approx(0.693147 * 2 / 3.875, rel=1e-5)
    assert document.metadata == {}


@each("documents", [[], [Document(""), Document("?!"), Document("the")]])
def test_a_corpus_without_words_has_nothing_to_find(documents: list[Document]) -> None:
    retriever = BM25Retriever(documents=documents)

    assert retriever.invoke("the tea?") == []


def test_the_title_is_searched_too_and_so_is_what_else_is_asked_for() -> None:
    metadata = {"title": "Coffee machine", "author": "Ada"}
    settings = {"texts": ["Descale it."], "metadatas": [metadata]}

    assert found(BM25Retriever.from_texts(**settings), "coffee") == ["Descale it."]
    assert found(BM25Retriever.from_texts(**settings), "ada") == []
    assert found(BM25Retriever.from_texts(**settings, search_metadata=["author"]), "ada")
    assert not found(BM25Retriever.from_texts(**settings, search_metadata=[]), "coffee")


# Languages


@each(
    ("text", "query"),
    [
        pytest.param("שעות השקט הן בלילה", "מתי שעות השקט?", id="Hebrew"),
        pytest.param("בְּרֵאשִׁית בָּרָא", "בראשית", id="Hebrew with points"),
        pytest.param("مُحَمَّد كتـــاب", "كتاب محمد", id="Arabic with vowels"),
        pytest.param("東京都の天気", "京都", id="Japanese, sign by sign"),
        pytest.param("ร้านอาหารไทย", "อาหาร", id="Thai, sign by sign"),
        pytest.param("नियम और शर्तें", "शर्तें", id="Hindi"),
        pytest.param("Cafe\u0301 au lait", "caf\u00e9", id="accents, joined or not"),
        pytest.param("docu\u00admentation", "documentation", id="soft hyphen"),
        pytest.param("ｆｕｌｌ width", "full", id="full-width letters"),
    ],
)
def test_other_scripts_and_spellings_are_found_without_any_setting(text: str, query: str) -> None:
    retriever = BM25Retriever.from_texts(["something else", text])

    assert found(retriever, query) == [text]


def test_the_vowel_signs_of_hindi_do_not_end_a_word() -> None:
    assert found(BM25Retriever.from_texts(["किताब"]), "कताब") == []


def test_a_language_brings_its_stems_and_its_common_words() -> None:
    german = BM25Retriever.from_texts(["die Häuser der Stadt"], language="german")

    assert found(german, "Haus")
    assert not found(german, "die der")
    assert found(BM25Retriever.from_texts(["um a casa"], language="basque"), "casa")


def test_without_a_language_words_are_compared_as_they_are() -> None:
    plain = BM25Retriever.from_texts(["The Keys"], language=None)

    assert found(plain, "the")
    assert not found(plain, "key")


@given(st.lists(st.text(max_size=20), max_size=4), st.text(max_size=20))
@settings(max_examples=50)
def test_no_text_and_no_query_breaks_it(contents: list[str], query: str) -> None:
    retriever = BM25Retriever.from_texts(contents)

    for document, score in retriever.search(query):
        assert document.page_content in contents
        assert score > 0


# Changes and copies


def test_added_documents_are_found() -> None:
    retriever = BM25Retriever(k=2)
    retriever.add_documents([Document("green tea")])
    retriever.add_documents(Document(text) for text in ("black tea", "milk"))

    assert found(retriever, "tea") == ["green tea", "black tea"]
    assert texts(list(retriever.documents)) == ["green tea", "black tea", "milk"]


def test_settings_can_be_assigned() -> None:
    retriever = BM25Retriever.from_texts(["tea", "teas", "the tea"])
    retriever.k = 1
    assert found(retriever, "tea") == ["tea"]

    retriever.language = None
    assert found(retriever, "the") == ["the tea"]

    retriever.documents = [Document("milk")]
    assert found(retriever, "milk") == ["milk"]


@each(
    "copied",
    [
        pytest.param(lambda one: pickle.loads(pickle.dumps(one)), id="pickle"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(lambda one: one.model_copy(), id="model_copy"),
    ],
)
def test_a_copy_finds_the_same_and_can_be_changed_by_itself(
    copied: Callable[[BM25Retriever], BM25Retriever],
) -> None:
    retriever = BM25Retriever.from_texts(HOUSE, k=3)
    twin = copied(retriever)
    assert twin.search("guests") == retriever.search("guests")

    twin.add_documents([Document("Guests!")])
    assert found(twin, "guests")[0] == "Guests!"
    assert "Guests!" not in found(retriever, "guests")


def test_model_copy_takes_other_documents() -> None:
    other = BM25Retriever.from_texts(HOUSE).model_copy(update={"documents": [Document("tea")]})

    assert found(other, "tea") == ["tea"]


def test_settings_can_be_configured_per_call() -> None:
    retriever = BM25Retriever.from_texts(HOUSE).configurable_fields(k=ConfigurableField("k"))

    assert len(retriever.invoke("guests", {"configurable": {"k": 2}})) == 2


def test_many_threads_may_search_while_documents_are_added() -> None:
    retriever = BM25Retriever.from_texts(HOUSE)
    expected = found(retriever, "guests")
    results: list[list[str]] = []

    def search() -> None:
        results.extend(found(retriever, "guests") for _ in range(20))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(10):
        retriever.add_documents([Document(f"Number {number}.")])
    for thread in threads:
        thread.join()

    assert results == [expected] * 80


def test_a_repr_does_not_print_the_documents() -> None:
    assert "three nights" not in repr(BM25Retriever.from_texts(HOUSE))


def test_nothing_is_printed_or_logged(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        BM25Retriever.from_texts(HOUSE).invoke("guests")

    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


# What is refused


@each(
    ("arguments", "problem"),
    [
        ({"k": 0}, "k: Input should be greater than or equal to 1"),
        ({"b": 2}, "b: Input should be less than or equal to 1"),
        ({"documents": ["text"]}, "documents.0: Input should be an instance of Document"),
        ({"top_k": 3}, "top_k: Extra inputs are not permitted"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        BM25Retriever(**arguments)

    assert str(caught.value) == f"BM25Retriever: {problem}"


def test_a_language_without_a_stemmer_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(ConfigurationError, match=r"'klingon'; there are arabic, .*, and None for"):
        BM25Retriever(language="klingon")


def test_a_call_with_a_wrong_k_is_refused(ask: Ask) -> None:
    with pytest.raises(ConfigurationError, match="k should be 1 or more, got 0"):
        ask(BM25Retriever.from_texts(HOUSE), "guests", k=0)


def test_texts_and_metadatas_must_be_as_many() -> None:
    with pytest.raises(ConfigurationError, match="2 texts, 1 metadatas"):
        BM25Retriever.from_texts(["a", "b"], [{}])


@each("missing", ["bm25s", "Stemmer"], monkeypatch=pytest.MonkeyPatch.context)
def test_without_the_extra_the_error_names_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # Python's own mark for "cannot be imported"
    with pytest.raises(MissingExtraError, match=rf'{missing}: pip install "ai21-chains\[bm25\]"'):
        BM25Retriever.from_texts(["tea"])


# Files


def test_what_was_saved_is_found_again(tmp_path: Path) -> None:
    documents = [
        Document("שלום לאורחים", id="a", metadata={"page": 1, "tags": ["x", None, 0.5, True]}),
        Document("Guests may stay.", metadata={"title": "lone \ud800"}),
    ]
    saved = BM25Retriever(documents=documents, k=7, language="german", k1=1.2, b=0.5)
    saved.save(tmp_path / "index")
    loaded = BM25Retriever.load(tmp_path / "index")

    assert loaded == saved
    assert loaded.search("שלום guests") == saved.search("שלום guests")
    loaded.add_documents([Document("More guests")])
    assert len(loaded.invoke("guests")) == 2


def test_an_empty_retriever_can_be_saved(tmp_path: Path) -> None:
    BM25Retriever().save(tmp_path / "index")

    assert BM25Retriever.load(tmp_path / "index").invoke("tea") == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (object(), "Object of type object is not JSON serializable"),
        ((1, 2), "it would not be the same when it is read"),
    ],
)
def test_metadata_that_json_cannot_hold_is_refused_and_the_file_left_alone(
    tmp_path: Path, value: object, problem: str
) -> None:
    path = tmp_path / "index"
    BM25Retriever.from_texts(["tea"]).save(path)
    before = path.read_bytes()

    with pytest.raises(DocumentError, match=f"document 2 cannot be saved as JSON: {problem}"):
        BM25Retriever.from_texts(["a", "b"], [{}, {"value": value}]).save(path)

    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["index"]


def test_a_file_that_cannot_be_put_in_place_leaves_no_traces(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with pytest.raises(OSError, match="index"):
        BM25Retriever.from_texts(["tea"]).save(tmp_path / "index")

    assert os.listdir(tmp_path) == ["index"]


def test_loading_a_file_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        BM25Retriever.load(tmp_path / "missing")


class Planted:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def foreign_files(folder: Path) -> dict[str, bytes]:
    def npz(**arrays: Any) -> bytes:
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    array = io.BytesIO()
    np.save(array, np.zeros(3))
    BM25Retriever.from_texts(["tea"]).save(folder / "saved")
    saved = (folder / "saved").read_bytes()
    header = json.dumps({"format": "ai21-chains BM25Retriever, version 2"}).encode()
    return {
        "empty": b"",
        "text": b"not an index",
        "an array": array.getvalue(),
        "other arrays": npz(other=np.zeros(3)),
        "another version": npz(saved=np.frombuffer(header, np.uint8)),
        "a pickle": pickle.dumps(Planted(folder / "planted")),
        "a pickle inside": npz(saved=np.array([Planted(folder / "planted")], dtype=object)),
        "cut off": saved[:-100],
        "damaged": saved.replace(b"vocabulary", b"vocabulari", 1),
    }


def test_a_file_that_save_has_not_written_is_refused_and_nothing_in_it_executed(
    tmp_path: Path,
) -> None:
    for name, content in foreign_files(tmp_path).items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DocumentError, match=f"{name}: not written by BM25Retriever.save"):
            BM25Retriever.load(path)

    assert not (tmp_path / "planted").exists()


# Several rankings


def ranking(names: str) -> list[Document]:
    return [Document(name) for name in names]


@each(
    ("rankings", "fused"),
    [
        pytest.param(["abc"], "abc", id="one"),
        pytest.param(["abc", "abc"], "abc", id="agreement"),
        pytest.param(["abc", "cab"], "acb", id="sum of both"),
        pytest.param(["ab", "cd"], "acbd", id="nothing in common"),
        pytest.param(["ax", "bx", "cx"], "xabc", id="second thrice beats first once"),
        pytest.param(["bbba", "ca"], "abc", id="repetitions have no more votes"),
        pytest.param(["", ""], "", id="nothing found"),
        pytest.param([], "", id="no ranking"),
    ],
)
def test_what_many_rankings_put_near_the_top_comes_first(rankings: list[str], fused: str) -> None:
    assert "".join(texts(reciprocal_rank_fusion(map(ranking, rankings)))) == fused


def test_a_small_k_lets_the_first_ranks_stand_out() -> None:
    rankings = [ranking("ax"), ranking("bcx")]

    assert texts(reciprocal_rank_fusion(rankings))[0] == "x"
    assert texts(reciprocal_rank_fusion(rankings, k=0))[0] == "a"


@each(
    ("one", "other", "same"),
    [
        (Document("a", id="1"), Document("b", id="1"), True),
        (Document("a", id="1"), Document("a"), True),
        (Document("a", id="1"), Document("a", id="2"), True),
        (Document("a"), Document("b"), False),
        (Document("a", metadata={"source": "x"}), Document("a", metadata={"source": "y"}), False),
        (
            Document("a", metadata={"start_index": 0}),
            Document("a", metadata={"start_index": 9}),
            False,
        ),
        (
            Document("a", metadata={"source": ["x"], "score": 1}),
            Document("a", metadata={"source": ["x"], "score": 2}),
            True,
        ),
    ],
)
def test_documents_are_the_same_by_id_or_by_text_and_place(
    one: Document, other: Document, same: bool
) -> None:
    fused = reciprocal_rank_fusion([[one], [other]])

    assert fused == ([one] if same else [one, other])


def test_several_retrievers_are_used_as_one_and_asked_at_the_same_time(ask_any: Ask) -> None:
    both_there = threading.Barrier(2, timeout=5)
    tea = BM25Retriever.from_texts(["tea", "tea and milk"])

    def meet(query: str) -> list[Document]:
        both_there.wait()
        return [Document("milk"), Document("tea and milk")]

    fused = fuse_retrievers([tea, RunnableLambda(meet), RunnableLambda(meet)])
    assert ask_any(fused, "tea") == ["tea and milk", "milk", "tea"]


@pytest.fixture(params=["invoke", "ainvoke"])
def ask_any(request: pytest.FixtureRequest) -> Ask:
    def answer(retriever: BaseRetriever, query: str) -> list[str]:
        if request.param == "ainvoke":
            return texts(asyncio.run(retriever.ainvoke(query)))
        return texts(retriever.invoke(query))

    return answer


def test_fused_retrievers_can_be_pickled() -> None:
    fused = fuse_retrievers([BM25Retriever.from_texts(["tea"]), BM25Retriever.from_texts(["tea"])])

    assert found(pickle.loads(pickle.dumps(fused)), "tea") == ["tea"]


def test_fusing_no_retrievers_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one retriever"):
        fuse_retrievers([])
