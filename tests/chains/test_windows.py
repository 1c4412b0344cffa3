from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from ai21_chains.chains._windows import PER_DOCUMENT, divide, pack
from tests.cases import each


def in_words(text: str) -> int:
    return len(text.split())


def test_documents_that_fit_stay_whole_and_in_one_window() -> None:
    documents = [Document("one two"), Document("three")]

    (window,) = pack(documents, 100, in_words)

    assert [piece.document for piece in window] == documents
    assert [piece.index for piece in window] == [0, 1]


def test_no_documents_need_no_window() -> None:
    assert pack([], 100, in_words) == []


def test_a_window_holds_no_more_than_its_budget() -> None:
    documents = [Document("word " * 50) for _ in range(7)]

    windows = pack(documents, 2 * (50 + PER_DOCUMENT), in_words)

    assert [len(window) for window in windows] == [2, 2, 2, 1]


def test_a_document_larger_than_a_window_is_divided_at_paragraphs() -> None:
    paragraphs = [f"Paragraph {number}. " + "word " * 30 for number in range(20)]
    document = Document("\n\n".join(paragraphs), metadata={"title": "T"})

    windows = pack([document], 200, in_words)

    assert len(windows) > 3
    for window in windows:
        for piece in window:
            assert piece.document.page_content in document.page_content
            assert piece.document.metadata == {"title": "T"}
            assert in_words(piece.document.page_content) + PER_DOCUMENT <= 200
    assert windows[0][0].document.page_content.endswith("\n\n")


@each("text", ["a" * 1000, "wörd " * 300, "A. B! C? " * 200])
def test_any_text_is_divided(text: str) -> None:
    assert [*divide(text, 100, 10)][-1][1] == len(text)


@given(st.lists(st.text(max_size=300), max_size=6), st.integers(PER_DOCUMENT + 5, 120))
def test_every_character_of_every_document_is_in_a_window(texts: list[str], budget: int) -> None:
    windows = pack([Document(text) for text in texts], budget, len)

    pieces = [piece for window in windows for piece in window]
    read = {(p.index, p.start + at) for p in pieces for at in range(len(p.document.page_content))}
    assert read == {(index, at) for index, text in enumerate(texts) for at in range(len(text))}
    for piece in pieces:
        whole, part = texts[piece.index], piece.document.page_content
        assert whole[piece.start : piece.start + len(part)] == part
    assert all(sum(piece.tokens for piece in window) <= budget for window in windows)


@given(st.text(min_size=1, max_size=400), st.integers(5, 60), st.integers(0, 4))
def test_every_character_is_in_a_stretch_that_is_short_enough(
    text: str, length: int, overlap: int
) -> None:
    spans = list(divide(text, length, overlap))

    assert {at for start, end in spans for at in range(start, end)} == set(range(len(text)))
    assert all(0 < end - start <= length for start, end in spans)
