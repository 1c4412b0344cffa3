"""Chunks are slices of their documents, and know where they stand in the file."""

import itertools
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.documents import Document

from ai21_chains.documents import load_documents, read_text, split_documents
from ai21_chains.errors import ConfigurationError, MissingExtraError
from tests.cases import each

EXAMPLES = Path(__file__).parents[1] / "examples" / "documents"

prose = st.text(st.sampled_from("ab. \n\r\té語שׁ🦉\u2028\u00a0"), max_size=300) | st.text()
sizes = st.tuples(st.integers(1, 40), st.integers(0, 39)).filter(lambda pair: pair[1] < pair[0])


def split(text: str, size: int, overlap: int = 0) -> list[str]:
    documents = split_documents([Document(text)], chunk_size=size, chunk_overlap=overlap)
    return [document.page_content for document in documents]


@given(text=prose, sizes=sizes, offset=st.integers(0, 9))
@example(text="| a | b |\n" * 40, sizes=(30, 15), offset=0)
@example(text="one\r\n\r\ntwo\r\nthree\r\n", sizes=(8, 3), offset=0)
def test_chunks_are_slices_that_leave_out_nothing_but_white_space(
    text: str, sizes: tuple[int, int], offset: int
) -> None:
    size, overlap = sizes
    document = Document(text, metadata={"start_index": offset})
    chunks = split_documents([document], chunk_size=size, chunk_overlap=overlap)

    spans = []
    for chunk in chunks:
        start = chunk.metadata["start_index"] - offset
        end = start + len(chunk.page_content)
        assert chunk.page_content == text[start:end] == chunk.page_content.strip() != ""
        assert end - start <= size
        spans.append((start, end))
    left_out = set(range(len(text))).difference(*(range(*span) for span in spans))
    assert not "".join(text[place] for place in left_out).strip()
    for (_, end), (start, next_end) in itertools.pairwise(spans):
        assert end - overlap <= start
        assert end < next_end


def test_repeated_lines_keep_their_own_places() -> None:
    chunks = split_documents([Document("no\n" * 9)], chunk_size=6, chunk_overlap=3)

    ends = [chunk.metadata["start_index"] + len(chunk.page_content) for chunk in chunks]
    assert ends == [2, 5, 8, 11, 14, 17, 20, 23, 26]


@each("path", sorted(EXAMPLES.glob("*.[mpt]*[dft]")))
def test_the_offset_of_a_chunk_counts_in_the_text_of_its_file(path: Path) -> None:
    chunks = split_documents(load_documents(path), chunk_size=200, chunk_overlap=50)

    text = read_text(path)

    assert len(chunks) > 1
    for chunk in chunks:
        start = chunk.metadata["start_index"]
        assert text[start : start + len(chunk.page_content)] == chunk.page_content


def test_a_chunk_has_the_metadata_of_its_document_but_not_its_id() -> None:
    page = Document("one two", id="p2", metadata={"source": "a.pdf", "page": 2, "start_index": 40})
    one, two = split_documents([page], chunk_size=5, chunk_overlap=0)

    assert one.metadata == {"source": "a.pdf", "page": 2, "start_index": 40}
    assert two.metadata == {"source": "a.pdf", "page": 2, "start_index": 44}
    assert one.id is two.id is None
    assert page.metadata["start_index"] == 40


def test_where_a_document_stands_is_not_invented() -> None:
    lost = Document("one two", metadata={"start_index": -1})

    assert [chunk.metadata for chunk in split_documents([lost], chunk_size=5, chunk_overlap=0)] == [
        {"start_index": -1},
        {"start_index": -1},
    ]


@each(
    ("text", "chunks"),
    [
        pytest.param("aa bb.\n\ncc dd.", ["aa bb.", "cc dd."], id="paragraphs"),
        pytest.param("aa bb.\r\n\r\ncc\r\ndd.", ["aa bb.", "cc\r\ndd."], id="CRLF"),
        pytest.param("aa bb\ncc dd", ["aa bb", "cc dd"], id="lines"),
        pytest.param("aa. bb. cc.", ["aa. bb.", "cc."], id="sentences"),
        pytest.param("aa bb cc dd", ["aa bb", "cc dd"], id="words"),
        pytest.param("東京都の天気は晴れです", ["東京都の天気は晴", "れです"], id="no spaces"),
        pytest.param("short", ["short"], id="all fits"),
        pytest.param(" \n ", [], id="white space"),
        pytest.param("", [], id="empty"),
    ],
)
def test_the_text_is_cut_where_it_hurts_least(text: str, chunks: list[str]) -> None:
    assert split(text, 8) == chunks


def test_a_chunk_begins_with_the_last_words_of_the_one_before() -> None:
    assert split("one two three four five six", 14, 6) == [
        "one two",
        "two three",
        "three four",
        "four five six",
    ]


def test_a_text_that_fits_is_one_chunk() -> None:
    assert split("x " * 999 + "xx", 2000, 200) == ["x " * 999 + "xx"]


def test_no_documents_give_no_chunks() -> None:
    assert split_documents([]) == []


@each(("size", "overlap"), [(10, 10), (10, -1), (0, 0)])
def test_sizes_that_make_no_sense_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ConfigurationError, match=f"chunk_overlap={overlap} should be from 0"):
        split("text", size, overlap)


def test_without_the_splitters_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_text_splitters", None)
    with pytest.raises(MissingExtraError, match=r'pip install "ai21-chains\[splitters\]"'):
        split("a b c", 1)
