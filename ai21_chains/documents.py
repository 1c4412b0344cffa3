"""Load files as LangChain documents whose text can be cited: offsets, pages and titles are kept.

A citation points into `page_content`, so a text file's content is exactly what the file says, and
what has to be extracted (HTML, PDF) is cleaned once, here, before anybody counts characters in it.
`read_text` gives the text of a whole file; for every loaded document it holds that

    read_text(source)[start_index : start_index + len(page_content)] == page_content
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from langchain_core.documents import Document

from ai21_chains._extras import import_extra
from ai21_chains._splitting import split_documents
from ai21_chains.errors import DocumentError

__all__ = ["DEFAULT_MAX_BYTES", "PAGE_SEPARATOR", "load_documents", "read_text", "split_documents"]

DEFAULT_MAX_BYTES = 50_000_000
"""Files above this size are refused unless `max_bytes` says otherwise: 50 MB."""

PAGE_SEPARATOR = "\f"
"""Stands between two pages in the text of a whole PDF (the form feed, as in `pdftotext`)."""

_logger = logging.getLogger(__name__)

# PDFium keeps global state: two threads inside it at once crash the process.
_pdfium_lock = threading.Lock()


def load_documents(
    paths: str | Path | Iterable[str | Path], *, max_bytes: int = DEFAULT_MAX_BYTES
) -> list[Document]:
    r"""Load text, Markdown, HTML and PDF files as documents that can be cited.

    A text file becomes one document whose `page_content` is the file's text, character by
    character. HTML becomes one document with the visible text. A PDF becomes one document for
    each page that has text (extra `pdf`). Unknown file types are read as text if they are text.

    The metadata holds `source` (the path as given), `title` (the first heading, the HTML or PDF
    title, else the file's name without its ending) and `start_index`, the offset of the document in
    the text of its file: 0, or for a page of a PDF its place in all pages joined by a form feed
    (see `read_text`). Pages also have `page` (counted from 1), `total_pages`, and `page_label`
    where the PDF calls the page something else ("iv").

    Args:
        paths: A file, a folder, or several of them. Of a folder every supported file below it is
            read, in sorted order; hidden files, other file types and links to folders are skipped.
        max_bytes: Size above which a file is refused, before it is read.

    Returns:
        The documents, in the order of the paths. A file named twice is loaded once.

    Raises:
        DocumentError: A path does not exist, or a file is unreadable, empty, too large, encrypted,
            broken, or not text.
        MissingExtraError: There is a PDF, and `ai21-chains[pdf]` is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "rules.md").write_text("# House rules\n\nQuiet from 22:00 to 06:00.\n")
        >>> document, = load_documents(folder)
        >>> document.metadata["title"], document.page_content[15:41]
        ('House rules', 'Quiet from 22:00 to 06:00.')
    """
    named = [paths] if isinstance(paths, str | os.PathLike) else paths
    sources = dict.fromkeys(source for path in named for source in _files(os.fspath(path)))
    return [
        document
        for source in sources
        for document in _to_documents(source, _read(source, max_bytes))
    ]


def read_text(path: str | Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> str:
    r"""Read the whole text of one file: the text that `start_index` counts in.

    Args:
        path: A file of any kind that `load_documents` reads.
        max_bytes: Size above which the file is refused, before it is read.

    Returns:
        The file's text; for a PDF the texts of all its pages, joined by a form feed.

    Raises:
        DocumentError: As for `load_documents`.
        MissingExtraError: The file is a PDF, and `ai21-chains[pdf]` is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> page = pathlib.Path(tempfile.mkdtemp()) / "page.html"
        >>> _ = page.write_text("<h1>Tea</h1><p>Steep for <b>3</b> minutes.</p>")
        >>> read_text(page)
        'Tea\n\nSteep for 3 minutes.'
    """
    return PAGE_SEPARATOR.join(_read(os.fspath(path), max_bytes).pages)


@dataclass(frozen=True)
class _Content:
    """What was read from one file; `labels` (one a page) only if the file has pages."""

    title: str
    pages: list[str]
    labels: list[str] | None = None


def _to_documents(source: str, content: _Content) -> list[Document]:
    common = {"source": source, "title": content.title or Path(source).stem}
    if content.labels is None:
        return [Document(content.pages[0], metadata={**common, "start_index": 0})]
    documents = []
    start = 0
    for number, (text, label) in enumerate(zip(content.pages, content.labels, strict=True), 1):
        metadata = {**common, "start_index": start, "page": number}
        metadata["total_pages"] = len(content.pages)
        if label not in ("", str(number)):
            metadata["page_label"] = label
        if text:
            documents.append(Document(text, metadata=metadata))
        start += len(text) + len(PAGE_SEPARATOR)
    return documents


# Files


def _files(source: str) -> list[str]:
    """The path itself, or the supported files below it if it is a folder."""
    if not os.path.isdir(source):
        return [source]
    found: list[str] = []
    for root, folders, names in os.walk(source, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(root, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in _READERS
        ]
    if not found:
        raise DocumentError(f"{source}: no supported files in this folder ({_SUPPORTED})")
    return sorted(found, key=Path)


def _refuse_folder(error: OSError) -> None:
    raise DocumentError(f"{error.filename}: the folder cannot be read ({error.strerror})")


def _read(source: str, max_bytes: int) -> _Content:
    data = _read_bytes(source, max_bytes)
    if not data:
        raise DocumentError(f"{source}: the file is empty")
    content = _READERS.get(Path(source).suffix.lower(), _read_unknown)(source, data)
    if not any(page.strip() for page in content.pages):
        raise DocumentError(f"{source}: {_no_text(content)}")
    return content


def _no_text(content: _Content) -> str:
    if content.labels is None:
        return "there is no text in the file"
    return (
        f"no text on any of the {len(content.pages)} pages; if they are scanned images, "
        "run OCR on the PDF first"
    )


def _read_bytes(source: str, max_bytes: int) -> bytes:
    path = Path(source)
    try:
        size = path.stat().st_size
        if not path.is_file():  # reading a pipe or a device might never end
            raise DocumentError(f"{source}: not a regular file")
        if size > max_bytes:
            raise DocumentError(
                f"{source}: {size:,} bytes are more than the limit of {max_bytes:,}; "
                "split the file or raise max_bytes"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise DocumentError(f"{source}: no such file or folder") from None
    except OSError as error:
        raise DocumentError(f"{source}: the file cannot be read ({error.strerror})") from error


# Text


def _read_plain(source: str, data: bytes) -> _Content:
    return _Content("", [_decode(source, data)])


def _read_markdown(source: str, data: bytes) -> _Content:
    text = _decode(source, data)
    return _Content(_markdown_heading(text.splitlines()), [text])


def _markdown_heading(lines: list[str]) -> str:
    fence = ""
    above = ""
    for line in map(str.strip, lines):
        if line.startswith(fence or ("```", "~~~")):
            fence = "" if fence else line[:3]
        elif not fence:  # in a fenced block "#" starts a comment of some programming language
            heading = re.match(r"#{1,6} +(.*\S)", line)
            if heading:
                return re.sub(r"(?<! ) +#+$", "", heading[1])
            if above and set(line) == {"="}:
                return above
            above = line
    return ""


def _read_rst(source: str, data: bytes) -> _Content:
    text = _decode(source, data)
    for above, line in pairwise(map(str.strip, text.splitlines())):
        if re.search(r"\w", above) and re.fullmatch(r"([=\-~^\"'*+#`:.])\1{2,}", line):
            return _Content(above, [text])
    return _Content("", [text])


def _read_unknown(source: str, data: bytes) -> _Content:
    try:
        return _read_plain(source, data)
    except DocumentError:
        kind = Path(source).suffix or "this kind of file"
        raise DocumentError(f"{source}: {kind} is not supported ({_SUPPORTED})") from None


def _decode(source: str, data: bytes) -> str:
    """Decode UTF-8, or UTF-16 that says so by its byte order mark, without touching newlines."""
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" not in data:
            raise DocumentError(
                f"{source}: the file's encoding is not UTF-8 (byte {error.start} is "
                f"0x{data[error.start]:02x}); save it as UTF-8"
            ) from None
        text = "\0"
    if "\0" in text:
        raise DocumentError(f"{source}: binary data, not text (there are NUL bytes in the file)")
    return text


# HTML


def _read_html(source: str, data: bytes) -> _Content:
    parser = _VisibleText()
    try:
        parser.feed(_decode(source, data).replace("\r\n", "\n"))
        parser.close()
    except AssertionError as error:  # how html.parser refuses some malformed declarations
        raise DocumentError(f"{source}: the HTML is broken ({error})") from error
    return _Content(parser.title, [parser.text])


_HIDDEN_TAGS = frozenset({"noscript", "script", "style", "template", "title"})
_LINE_TAGS = ["br", "caption", "dd", "div", "dt", "li", "option", "tr"]
_BLOCK_TAGS = [
    *("address", "article", "aside", "blockquote", "body", "details", "dl", "fieldset", "figure"),
    *("footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav", "ol"),
    *("p", "pre", "section", "table", "ul"),
]
_NEWLINES = {**dict.fromkeys(_LINE_TAGS, 1), **dict.fromkeys(_BLOCK_TAGS, 2)}


class _VisibleText(HTMLParser):
    """Collects the text a reader would see, with an empty line between blocks."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[str] = []
        self._titles: dict[str, str] = {"title": "", "h1": ""}
        self._newlines = 0  # owed before the next visible character
        self._hidden = 0  # how many hidden elements are open
        self._preformatted = 0
        self._title_tag = ""

    @property
    def text(self) -> str:
        return "".join(self._parts).rstrip()

    @property
    def title(self) -> str:
        return " ".join((self._titles["title"].strip() or self._titles["h1"]).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)
        self._hidden += tag in _HIDDEN_TAGS
        self._preformatted += tag == "pre"
        if tag in self._titles and not self._titles[tag]:
            self._title_tag = tag

    def handle_endtag(self, tag: str) -> None:
        self._break(tag)
        self._hidden = max(0, self._hidden - (tag in _HIDDEN_TAGS))
        self._preformatted = max(0, self._preformatted - (tag == "pre"))
        if tag == self._title_tag:
            self._title_tag = ""

    def handle_data(self, data: str) -> None:
        if self._title_tag:
            self._titles[self._title_tag] += data
        if not self._hidden:
            self._append(data)

    def _break(self, tag: str) -> None:
        if tag in ("td", "th") and not self._hidden:
            self._append(" ")  # cells of a row must not run together
        self._newlines = max(self._newlines, _NEWLINES.get(tag, 0))

    def _append(self, data: str) -> None:
        if not self._preformatted:
            data = re.sub(r"\s+", " ", data)
            if not self._parts or self._newlines or self._parts[-1][-1].isspace():
                data = data.lstrip()
        if not data:
            return
        if self._parts and self._newlines:
            self._parts[-1] = self._parts[-1].rstrip()
            self._parts.append("\n" * self._newlines)
        self._newlines = 0
        self._parts.append(data)


# PDF


def _read_pdf(source: str, data: bytes) -> _Content:
    pdfium = import_extra("pypdfium2", f"{source}: reading PDF files", "pdf")
    with _pdfium_lock:
        try:
            with closing(pdfium.PdfDocument(data)) as pdf:
                title = " ".join(pdf.get_metadata_value("Title").split())
                pages = [_page_text(pdf, index) for index in range(len(pdf))]
                labels = [pdf.get_page_label(index) for index in range(len(pdf))]
        except (pdfium.PdfiumError, UnicodeDecodeError) as error:  # the latter: broken labels
            raise DocumentError(f"{source}: {_pdf_problem(pdfium, error)}") from error
    pages = _clean_pages(pages)
    if any(pages) and not all(pages):
        blank = ", ".join(str(number) for number, page in enumerate(pages, 1) if not page)
        _logger.warning("%s: no text on page %s (blank, or scanned without OCR)", source, blank)
    return _Content(title, pages, labels)


def _pdf_problem(pdfium: ModuleType, error: Exception) -> str:
    if getattr(error, "err_code", None) == pdfium.raw.FPDF_ERR_PASSWORD:
        return "the PDF is encrypted; save a copy without a password"
    return "the PDF is broken or not a PDF at all"


def _page_text(pdf: Any, index: int) -> str:
    with closing(pdf[index]) as page, closing(page.get_textpage()) as text_page:
        # The default bounds cut off text on rotated pages; the unbounded method knows no emoji.
        return str(text_page.get_text_bounded(*_EVERYWHERE))


_EVERYWHERE = (-1e6, -1e6, 1e6, 1e6)
_LIGATURES = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
)
_BREAK = "\x02"  # PDFium's own mark for a hyphen at a line's end; the line break is already gone


def _clean_pages(pages: list[str]) -> list[str]:
    """Make PDFium's text readable: plain newlines, whole words, no control characters."""
    pages = [_clean(page) for page in pages]
    words = {word.lower() for page in pages for word in re.findall(r"\w+(?:-\w+)*", page)}

    def rejoin(match: re.Match[str]) -> str:
        """Decide as a reader does whether the hyphen belongs to the word or to the line."""
        left, right = match.groups()
        joined, hyphenated = left + right, f"{left}-{right}"
        if joined.lower() in words:
            return joined
        if hyphenated.lower() in words or not (left[-1].islower() and right[0].islower()):
            return hyphenated
        return joined

    broken_word = re.compile(rf"(?<![\w-])([\w-]+){_BREAK}([\w-]+)")
    return [broken_word.sub(rejoin, page).replace(_BREAK, "-") for page in pages]


def _clean(page: str) -> str:
    page = page.translate(_LIGATURES)
    page = re.sub(r"\r\n?|[\v\f\x85\u2028\u2029]", "\n", page)
    page = re.sub(r"\ufffe|\xad\n", _BREAK, page).replace("\xad", "")
    page = re.sub(r"[\x00\x01\x03-\x08\x0e-\x1f\x7f-\x9f\uffff]", "", page)
    return "\n".join(line.rstrip() for line in page.split("\n")).strip()


_READERS: dict[str, Callable[[str, bytes], _Content]] = {
    ".csv": _read_plain,
    ".htm": _read_html,
    ".html": _read_html,
    ".markdown": _read_markdown,
    ".md": _read_markdown,
    ".pdf": _read_pdf,
    ".rst": _read_rst,
    ".txt": _read_plain,
}
_SUPPORTED = f"supported are {', '.join(_READERS)}; a file named explicitly may be any UTF-8 text"
