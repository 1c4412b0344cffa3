"""Files become documents whose text, offsets and pages a citation can rely on."""

import logging
import os
import runpy
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase.pdfmetrics import Font, registerFont
from reportlab.pdfgen.canvas import Canvas

from ai21_chains.documents import load_documents, read_text
from ai21_chains.errors import AI21Error, DocumentError, MissingExtraError
from tests.cases import each

EXAMPLES = Path(__file__).parents[1] / "examples" / "documents"
MANUAL = EXAMPLES / "coffee_machine_manual.pdf"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_pdf(path: Path, *pages: str, title: str = "", **options: object) -> Path:
    canvas = Canvas(str(path), invariant=1, **options)
    canvas.setTitle(title)
    for page in pages:
        for row, line in enumerate(page.splitlines()):
            canvas.drawString(72, 720 - 15 * row, line)
        canvas.showPage()
    canvas.save()
    return path


def texts(*paths: Path) -> list[str]:
    return [document.page_content for document in load_documents(paths)]


def title(path: Path) -> str:
    return str(load_documents(path)[0].metadata["title"])


def refusal(path: Path | str, **options: int) -> str:
    with pytest.raises(DocumentError) as caught:
        load_documents(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# Text


@each("ending", [".txt", ".md", ".markdown", ".rst", ".csv", ".TXT"])
def test_the_content_of_a_text_file_is_the_file_character_by_character(
    tmp_path: Path, ending: str
) -> None:
    data = "\r\n  Zeile 1 \r\n\tnaïve 🦉\n\n\rende\u2028 \n".encode()
    path = write(tmp_path / f"a{ending}", data)
    assert texts(path) == [data.decode()]


@settings(max_examples=50)
@given(text=st.text(min_size=1))
def test_any_text_survives_loading(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assume(text.strip() and "\0" not in text and text[0] != "\ufeff")
    path = write(tmp_path_factory.getbasetemp() / "any.txt", text)
    assert texts(path) == [text]


@settings(max_examples=50)
@given(data=st.binary(max_size=80))
@example(data=b"tea <![nonsense[")  # html.parser has no words for this one
@pytest.mark.parametrize("name", ["any.txt", "any.html", "any.md", "any.pdf", "any.bin"])
def test_any_bytes_are_loaded_or_refused(
    name: str, data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.getbasetemp() / name, data)
    with suppress(DocumentError):
        assert all(texts(path))


@each("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_decides_the_encoding_and_is_not_part_of_the_text(
    tmp_path: Path, encoding: str
) -> None:
    path = write(tmp_path / "a.txt", "Größe: 5 µm\r\n".encode(encoding))
    assert texts(path) == ["Größe: 5 µm\r\n"]


def test_big_endian_utf_16_is_read_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"\xfe\xff" + "tea".encode("utf-16-be"))
    assert texts(path) == ["tea"]


def test_metadata_of_a_text_file(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.txt", "# no heading, this is plain text")
    assert load_documents(path)[0].metadata == {
        "source": str(path),
        "title": "notes",
        "start_index": 0,
    }


@each(
    ("markdown", "heading"),
    [
        ("intro\n\n## Second level ##\n# First", "Second level"),
        ("# C#\n", "C#"),
        ("```sh\n# a comment\n```\n# After the code", "After the code"),
        ("~~~\n```\n# a comment\n~~~\n# After the code", "After the code"),
        ("Underlined\r\n==========\r\ntext", "Underlined"),
        ("#hashtag\n####### seven\n", "a"),
        ("no heading at all", "a"),
    ],
)
def test_the_title_of_markdown_is_its_first_heading(
    tmp_path: Path, markdown: str, heading: str
) -> None:
    assert title(write(tmp_path / "a.md", markdown)) == heading


@each(
    ("rst", "heading"),
    [
        ("========\nOverview\n========\ntext", "Overview"),
        (".. comment\n\nUsage\n-----\n", "Usage"),
        ("==== ====\na    b\n==== ====\n", "a"),
    ],
)
def test_the_title_of_restructured_text_is_its_first_underlined_line(
    tmp_path: Path, rst: str, heading: str
) -> None:
    assert title(write(tmp_path / "a.rst", rst)) == heading


def test_an_unknown_file_type_is_read_if_it_is_text(tmp_path: Path) -> None:
    path = write(tmp_path / "Dockerfile.dev", "FROM scratch\n")
    assert texts(path) == ["FROM scratch\n"]


# HTML


def test_html_gives_the_text_a_reader_sees(tmp_path: Path) -> None:
    html = """<!doctype html><html><head><title> Tea &amp;
        Coffee </title><style>p { color: red }</style><script>alert("<p>no</p>")</script></head>
        <body><h1>Tea</h1><p>Steep   for
        <b>3</b>&nbsp;minutes.<br>Then <i>drink</i>.</p><!-- secret --><noscript>no</noscript>
        <ul><li>green</li><li>bl<b>ack</b></li></ul>
        <table><tr><th>Kind</th><th>°C</th></tr><tr><td>green</td><td>80</td></tr></table>
        <template><p>no</p></template></body></html>"""
    (document,) = load_documents(write(tmp_path / "tea.html", html))
    assert document.page_content == (
        "Tea\n\nSteep for 3 minutes.\nThen drink.\n\ngreen\nblack\n\nKind °C\ngreen 80"
    )
    assert document.metadata["title"] == "Tea & Coffee"
    assert document.metadata["start_index"] == 0


def test_html_keeps_the_layout_of_preformatted_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.htm", "<p>Run</p><pre>if x:\r\n    y()\n</pre>\n<p>now</p>")
    assert texts(path) == ["Run\n\nif x:\n    y()\n\nnow"]


@each(
    ("html", "expected"),
    [
        ("<h1>Green <i>tea</i></h1><h1>Second</h1>", "Green tea"),
        ("<title></title><h1>Tea</h1>", "Tea"),
        ("<p>no title</p>", "page"),
    ],
)
def test_html_without_a_title_is_called_by_its_heading_or_file_name(
    tmp_path: Path, html: str, expected: str
) -> None:
    assert title(write(tmp_path / "page.html", html)) == expected


# PDF


def test_a_pdf_gives_one_document_a_page(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", "First page\nsecond line", "Next page", title="Tea")
    assert [(d.page_content, d.metadata) for d in load_documents(path)] == [
        (
            "First page\nsecond line",
            {"source": str(path), "title": "Tea", "start_index": 0, "page": 1, "total_pages": 2},
        ),
        (
            "Next page",
            {"source": str(path), "title": "Tea", "start_index": 23, "page": 2, "total_pages": 2},
        ),
    ]
    assert read_text(path) == "First page\nsecond line\fNext page"


def test_a_pdf_without_a_title_is_called_by_its_file_name(tmp_path: Path) -> None:
    assert title(write_pdf(tmp_path / "leaflet.pdf", "text", title=" ")) == "leaflet"


def test_a_page_label_is_given_where_it_differs_from_the_number(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "a.pdf"))
    canvas.addPageLabel(0, style="ROMAN_LOWER")
    canvas.addPageLabel(1, style="ARABIC", start=2)
    for text in ("preface", "chapter"):
        canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    preface, chapter = load_documents(tmp_path / "a.pdf")
    assert (preface.metadata["page"], preface.metadata["page_label"]) == (1, "i")
    assert chapter.metadata["page"] == 2
    assert "page_label" not in chapter.metadata


def test_a_blank_page_gives_no_document_but_is_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_pdf(tmp_path / "a.pdf", "one", "", "three")
    with caplog.at_level(logging.WARNING):
        documents = load_documents(path)
    assert [document.metadata["page"] for document in documents] == [1, 3]
    assert [document.metadata["start_index"] for document in documents] == [0, 5]
    assert caplog.messages == [f"{path}: no text on page 2 (blank, or scanned without OCR)"]
    assert read_text(path) == "one\f\fthree"


@each(
    ("lines", "expected"),
    [
        ("an exam-\nple", "an example"),
        ("a long-\nterm plan\nis long-term", "a long-term plan\nis long-term"),
        ("by E-\nMail", "by E-Mail"),
        ("Re-\nRead it\nreread", "ReRead it\nreread"),
        ("in 2024-\n2025", "in 2024-\n2025"),
    ],
)
def test_words_hyphenated_at_a_line_end_are_whole_again(
    tmp_path: Path, lines: str, expected: str
) -> None:
    assert texts(write_pdf(tmp_path / "a.pdf", lines)) == [expected]


def test_other_pages_decide_whether_a_hyphen_belongs_to_the_word(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", "a well-\nknown rule", "It is well-known.")
    assert texts(path) == ["a well-known rule", "It is well-known."]


@each(("rotation", "origin"), [(90, (400, 0)), (270, (0, 800))])
def test_a_landscape_page_is_read_in_full(
    tmp_path: Path, rotation: int, origin: tuple[int, int]
) -> None:
    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(400, 800))
    canvas.setPageRotation(rotation)
    canvas.translate(*origin)
    canvas.rotate(rotation)
    canvas.drawString(50, 350, "left")
    canvas.drawString(700, 50, "right")
    canvas.save()
    assert texts(tmp_path / "a.pdf") == ["left\nright"]


def test_ligatures_become_plain_letters_and_quotes_stay_curly(tmp_path: Path) -> None:
    registerFont(Font("Ligatures", "Times-Roman", "MacRomanEncoding"))
    canvas = Canvas(str(tmp_path / "a.pdf"))
    canvas.setFont("Ligatures", 12)
    canvas.drawString(72, 720, "ﬁve “ﬂat” plates")
    canvas.save()
    assert texts(tmp_path / "a.pdf") == ["five “flat” plates"]


def test_a_pdf_that_only_restricts_printing_is_read(tmp_path: Path) -> None:
    restricted = StandardEncryption("", ownerPassword="owner", canPrint=0)
    assert texts(write_pdf(tmp_path / "a.pdf", "open", encrypt=restricted)) == ["open"]


def test_pdfs_can_be_read_from_many_threads() -> None:
    expected = texts(MANUAL)
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(texts(MANUAL))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


def test_without_pypdfium2_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(MissingExtraError) as missing:
        load_documents(MANUAL)

    assert isinstance(missing.value, ImportError)
    assert str(missing.value) == (
        f'{MANUAL}: reading PDF files needs pypdfium2: pip install "ai21-chains[pdf]"'
    )


# Folders and several paths


def test_a_folder_gives_its_supported_files_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.md", "a/.hidden.md", ".git/x.txt", "a.png", "make.py", "a-b.txt"):
        write(tmp_path / name, name)
    sources = [document.metadata["source"] for document in load_documents(tmp_path)]
    assert sources == [str(tmp_path / name) for name in ("a/z.md", "a-b.txt", "b.txt")]


def test_the_source_is_the_path_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "docs" / "a.txt", "a")
    monkeypatch.chdir(tmp_path)
    assert load_documents("./docs/a.txt")[0].metadata["source"] == "./docs/a.txt"
    assert load_documents("docs")[0].metadata["source"] == os.path.join("docs", "a.txt")


def test_several_paths_keep_their_order_and_no_file_is_loaded_twice(tmp_path: Path) -> None:
    first = write(tmp_path / "z.txt", "z")
    folder = write(tmp_path / "docs" / "a.txt", "a").parent
    inside = write(tmp_path / "docs" / "b.txt", "b")
    paths: list[str | Path] = [first, inside, folder, str(first)]
    assert [document.page_content for document in load_documents(paths)] == ["z", "b", "a"]


def test_a_generator_of_paths_will_do_and_no_paths_give_no_documents(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "a")
    assert len(load_documents(path for _ in range(1))) == 1
    assert load_documents([]) == []


@each("content", ["plain", "# Title\r\n\r\ntext"])
def test_every_document_is_a_slice_of_the_text_of_its_file(tmp_path: Path, content: str) -> None:
    write(tmp_path / "a.md", content)
    write(tmp_path / "b.html", f"<p>{content}</p>")
    write_pdf(tmp_path / "c.pdf", content, "", "last page")
    for document in load_documents(tmp_path):
        start = document.metadata["start_index"]
        text = read_text(document.metadata["source"])
        assert text[start : start + len(document.page_content)] == document.page_content


# What is refused, and how


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.txt") == "no such file or folder"


def test_a_folder_without_supported_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.png", "x")
    assert refusal(tmp_path) == (
        "no supported files in this folder (supported are .csv, .htm, .html, .markdown, .md, .pdf, "
        ".rst, .txt; a file named explicitly may be any UTF-8 text)"
    )


def test_an_unsupported_file_named_explicitly_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.docx", b"PK\x03\x04\x00\xff")
    assert refusal(path).startswith(".docx is not supported (supported are .csv, ")
    path = write(tmp_path / "a", b"\xff\x00")
    assert refusal(path).startswith("this kind of file is not supported (")


@each("name", ["a.txt", "a.pdf", "a.html"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(write(tmp_path / name, "")) == "the file is empty"


@each(
    ("name", "content"),
    [("a.txt", " \n\t\n"), ("a.md", b"\xef\xbb\xbf"), ("a.html", "<script>x</script> <p></p>")],
)
def test_a_file_without_text_is_refused(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert refusal(write(tmp_path / name, content)) == "there is no text in the file"


def test_a_scanned_pdf_is_refused_with_the_advice_to_run_ocr(tmp_path: Path) -> None:
    assert refusal(write_pdf(tmp_path / "scan.pdf", "", "")) == (
        "no text on any of the 2 pages; if they are scanned images, run OCR on the PDF first"
    )


def test_an_encrypted_pdf_is_refused(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", "secret", encrypt="password")
    assert refusal(path) == "the PDF is encrypted; save a copy without a password"


@each("data", [b"not a PDF", MANUAL.read_bytes()[:600]])
def test_a_broken_pdf_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refusal(write(tmp_path / "a.pdf", data)) == "the PDF is broken or not a PDF at all"


@each("data", [b"a\0b", b"\xff\xd8\x00\x10JFIF", b"\xff\xfe\0\0a\0\0\0"])
def test_binary_data_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refusal(write(tmp_path / "a.txt", data)) == (
        "binary data, not text (there are NUL bytes in the file)"
    )


def test_a_text_in_another_encoding_is_refused_and_the_byte_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Café".encode("latin-1"))
    assert refusal(path) == ("the file's encoding is not UTF-8 (byte 3 is 0xe9); save it as UTF-8")


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    with path.open("wb") as file:
        file.truncate(50_000_001)  # sparse: takes no space, and would be refused as binary if read
    assert refusal(path) == (
        "50,000,001 bytes are more than the limit of 50,000,000; split the file or raise max_bytes"
    )


def test_the_limit_can_be_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "12345")
    assert "5 bytes are more than the limit of 4" in refusal(path, max_bytes=4)
    assert read_text(path, max_bytes=5) == "12345"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert refusal(tmp_path / "pipe.txt") == "not a regular file"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_file_that_cannot_be_read_is_refused() -> None:
    # No permission is asked of root, but address 0 can be read by nobody.
    assert refusal("/proc/self/mem") == "the file cannot be read (Input/output error)"


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
def test_a_file_or_folder_without_read_permission_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "docs" / "a.txt", "a")
    path.chmod(0)
    assert refusal(path) == "the file cannot be read (Permission denied)"
    path.parent.chmod(0)
    assert refusal(path.parent) == "the folder cannot be read (Permission denied)"
    path.parent.chmod(0o700)


def test_every_refusal_is_an_ai21_error_and_a_value_error(tmp_path: Path) -> None:
    for kind in (AI21Error, ValueError):
        with pytest.raises(kind, match="no such file"):
            load_documents(tmp_path / "no.txt")


# The example documents


def test_the_example_folder_loads_with_titles_and_pages() -> None:
    documents = load_documents(EXAMPLES)
    assert [document.metadata["title"] for document in documents] == [
        *["Tarnwell Barista 3 – Operating Manual"] * 6,
        "Staff Handbook",
        "supply_contract",
    ]
    assert [document.metadata.get("page") for document in documents] == [*range(1, 7), None, None]


@each(
    ("name", "page", "fact"),
    [
        ("staff_handbook.md", None, "You may carry up to six unused days of annual leave"),
        (
            "supply_contract.txt",
            None,
            "limited to the higher of EUR 750,000 and\n     125 per cent",
        ),
        ("coffee_machine_manual.pdf", 1, "Never use milk, sparkling water or distilled water."),
        ("coffee_machine_manual.pdf", 2, "five minutes beforehand"),
        ("coffee_machine_manual.pdf", 4, "Descaling takes 25 minutes and cannot be interrupted."),
        (
            "coffee_machine_manual.pdf",
            5,
            "E05 Boiler too hot (above 160 °C) Pull the plug and wait",
        ),
        ("coffee_machine_manual.pdf", 6, "the warranty is extended to 42 months."),
    ],
)
def test_the_example_documents_hold_the_facts(name: str, page: int | None, fact: str) -> None:
    pages = {d.metadata.get("page"): d.page_content for d in load_documents(EXAMPLES / name)}
    assert fact in pages[page]


def test_the_text_of_the_manual_is_clean() -> None:
    text = read_text(MANUAL)
    odd = {char for char in text if not char.isprintable()} - {"\n", "\f"}
    assert not odd
    assert not set("ﬀﬁﬂ\ufffd■") & set(text)
    assert "“invented" in text


def test_the_manual_is_regenerated_byte_for_byte(tmp_path: Path) -> None:
    script = runpy.run_path(str(EXAMPLES / "make_manual.py"))
    script["build"](tmp_path / "manual.pdf")
    assert (tmp_path / "manual.pdf").read_bytes() == MANUAL.read_bytes()
