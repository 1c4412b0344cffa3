"""Text into sentences with exact offsets, and sentences into word stems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

STOP_WORDS = frozenset(
    """a about an and any are as at be been but by can could did do does for from had has have how i
    if in into is it its many me mean much my no not of on or our s should so
    such t tell than that the their then there these they this to us was we what when where which
    who whom whose why will with would you your""".split()  # noqa: SIM905
)

LONGEST = 400
"""Characters; a longer sentence is split at its semicolons, so that quotes stay readable."""

TITLE_WIDTH = 0.6
"""A line that is wider, compared with the widest of its text, is taken for wrapped prose."""

_WORD = re.compile(
    r"[A-Za-z]{1,3}-?\d{2,}\b"  # a code
    r"|\d+(?:[.,]\d+)*"  # a number, with its separators
    r"|[぀-ヿ㐀-鿿가-힯]"  # scripts without spaces: each sign by itself
    r"|[^\W\d_]+",
)
_BLOCK_START = re.compile(
    r"\s*(?:\#{1,6}\s|[-*+•‣◦▪–]\s|\|"  # Markdown heading, list item, table row
    r"|\(?\d{1,2}[.)]\s|\([a-z]{1,4}\)\s"  # (1), 1., 1), (a)
    r"|\d{1,2}(?:\.\d{1,2}){1,3}\.?\s"  # 1.2.3
    r"|[A-Z]{1,3}-?\d{2,4}\s)"  # E05, a table row of a PDF
)
_HEADING = re.compile(r"\s*\#{1,6}\s")
_MARKS = re.compile(r"\s*(?:\#{1,6}|[-*+•‣◦▪–])\s+")
_END = re.compile(r"[.!?…]+[\"')\]”’»]*(?: '')?(?=\s)|[。！？]+[」』”’]*|[.!?]+(?:\[\d+\])+(?=\s)")
_INNER_END = re.compile(r"[a-z]{2}[.!?]\s")
_CLAUSE_END = re.compile(r";(?:\s+(?:and|or))?(?=\s)")
_ABBREVIATIONS = frozenset(
    """dr mr mrs ms prof st sr jr vs v no nos fig figs eq sec art inc corp co ltd llc dept est e.g
    i.e approx cf al etc gen col sgt capt rev hon jan feb mar apr jun jul aug sep sept oct nov dec
    op pp vol ed eds ph.d m.d b.c a.d u.s u.k""".split()  # noqa: SIM905
)


_ENDINGS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"ies$", "y"),
        (r"(?<![sui])s$", ""),
        (
            r"(?<=\w{3})(?:ization|ational|fulness|ousness|iveness|ation|ment|ness|ing|ion|ive|ed|er"
            r"|or|ly|al)$",
            "",
        ),
        (r"(?<=\w\w)([^lsz])\1$", r"\1"),  # planned, plan
        (r"(?<=\w{3})[ey]$", ""),
    )
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, list item, table row or heading of a document.

    Attributes:
        start: Offset of its first character in the document.
        end: Offset after its last character.
        heading: Whether it is a heading rather than something said.
    """

    start: int
    end: int
    heading: bool = False


def sentences(text: str) -> Iterator[Sentence]:
    """Split a text into sentences; lines that were only wrapped stay together.

    Args:
        text: Prose, Markdown, or text taken from a PDF.

    Yields:
        Sentences in order, without the white space around them.
    """
    for start, end in _blocks(text):
        heading = _is_heading(text[start:end])
        for first, last in [(start, end)] if heading else _split(text, start, end):
            sentence = _trimmed(text, first, last, heading)
            if sentence:
                yield sentence


def words(text: str) -> list[str]:
    """Return the stems of a text's content words, in order.

    Args:
        text: Any text.
    """
    found = (word.lower() for word in _WORD.findall(text))
    return [stem(word) for word in found if word not in STOP_WORDS]


def readable(text: str) -> str:
    """Return a sentence on one line, without bullets, heading marks and table bars.

    Args:
        text: A sentence as it stands in its document.
    """
    lines = [_MARKS.sub("", line) if _MARKS.match(line) else line for line in text.splitlines()]
    return " ".join(" ".join(lines).replace("|", " ").split())


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Cut the commonest English endings off a word in lower case.

    Args:
        word: One word.
    """
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word.replace(",", "")
    for ending, replacement in _ENDINGS:
        word = ending.sub(replacement, word)
    return word


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Find paragraphs, list items, table rows and headings."""
    start = position = 0
    alone = False
    before = ""
    lines = text.splitlines(keepends=True)
    width = max(map(len, lines), default=0)
    for line in lines:
        blank = not line.strip()
        title = _is_title(line, before, width)
        if blank or alone or title or _BLOCK_START.match(line):
            if text[start:position].strip():
                yield start, position
            start = position
        alone = title or bool(_HEADING.match(line)) or line.lstrip().startswith("|")
        position += len(line)
        before = line
    if text[start:].strip():
        yield start, len(text)


def _is_title(line: str, before: str, width: int) -> bool:
    """Tell a heading that a PDF sets without a blank line from the last line of a paragraph."""
    goes_on = bool(before.strip()) and before.rstrip()[-1] not in ".!?:|。！？"
    after_title = len(before) <= TITLE_WIDTH * width
    return (
        len(line) <= TITLE_WIDTH * width
        and (not goes_on or after_title)
        and bool(line.strip())
        and line.lstrip()[0].isdigit() | line.lstrip()[0].isupper()
        and _is_heading(line)
    )


def _is_heading(block: str) -> bool:
    """A Markdown heading, or a short line by itself that does not end like a sentence."""
    if _HEADING.match(block):
        return True
    line = block.strip()
    return (
        "\n" not in line
        and len(line) <= 80
        and len(line.split()) <= 10
        and line[-1] not in ".!?:;,|。！？"
        and not _BLOCK_START.match(line)
        and not _INNER_END.search(line)
        and line[:1].upper() == line[:1]
    )


def _split(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    first = start
    ends = [
        match.end() for match in _END.finditer(text, start, end) if _ends(text, match, first, end)
    ]
    for last in (*ends, end):
        yield from _clauses(text, first, last)
        first = last


def _clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split a sentence that is too long for a quotation at its semicolons."""
    if end - start > LONGEST:
        for match in _CLAUSE_END.finditer(text, start, end):
            yield start, match.end()
            start = match.end()
    yield start, end


def _ends(text: str, match: re.Match[str], start: int, end: int) -> bool:
    """Tell the end of a sentence from an abbreviation, an initial or a number."""
    if match[0][0] in "。！？":
        return True
    after = text[match.end() : end].lstrip()[:1]
    if after.islower():
        return False
    if match[0][0] != ".":
        return True
    before = text[max(start, match.start() - 12) : match.start()].split()
    last = before[-1].lstrip("(\"'[").lower() if before else ""
    is_initial = len(last) == 1 and last.isalpha() and text[match.start() - 1].isupper()
    is_number = not text[start : match.start()].strip("0123456789.() \t")
    return not (is_initial or is_number or last in _ABBREVIATIONS)


def _trimmed(text: str, start: int, end: int, heading: bool) -> Sentence | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Sentence(start, end, heading) if start < end else None
