"""What an answer claims: its sentences and its numbers. Pure functions of a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

MARK = re.compile(r"(?<!\b[A-Za-z_])\[([1-9][0-9]{0,2})\](?!\()")
"""A citation mark in a finished answer; `a[1]` is none, and `[1](…)` is a link."""

UNVERIFIED = re.compile(r"\[unverified ([1-9][0-9]{0,2})\]")
"""A mark for a quote that no document has, where such quotes are kept."""

_STOP = re.compile(
    r"""(?P<stop>[.!?…؟۔।]+)["'”’»)\]*_]*(?:\s*\[(?:unverified\ )?\d+\])*(?=\s|\Z)
      | [。！？｡]+["'”’」』）)]*(?:\s*\[(?:unverified\ )?\d+\])*
      | (?P<line>\n)""",
    re.X,
)
_ABBREVIATION = re.compile(
    r"\b(?:mr|mrs|ms|dr|prof|st|vs|cf|e\.g|i\.e|approx|ca|(?-i:[A-Z]))\Z"
    r"|^\W*(?:\d{1,3}|[^\W\d_]+)\Z",
    re.I,
)
"""The end of a line behind which a full stop ends nothing: "e.g", an initial, a "1", "Yes"."""
_BEFORE_NUMBER = re.compile(r"\b(?:nos?|nr|art|sec|fig|vol|ch|pp?|par)\Z", re.I)
_NEXT = re.compile(r"\s*[\"'“‘«(\[*_]*")
_GOES_ON = re.compile(r"[a-zß-öø-ÿ]")
_WRAPPED = re.compile(r"\d+(?![.)\d])")
_HEADING = re.compile(r"#{1,6}\s.*|(\*\*|__)[^*_\n]+\1:?")

_NUMBER = re.compile(
    r"\d{1,3}(?:[ \u00a0\u2009\u202f'’]\d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,٫٬]\d+)*"
)
_NUMBERING = re.compile(r"^[ \t]*\d{1,3}[.)](?=\s)", re.M)
_GROUPED = re.compile(r"\d{1,3}(?:(\D)\d{3})(?:\1\d{3})*")
_SPELLED = {
    word: Decimal(number)
    for number, words in {
        0: "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty",
        30: "thirty",
        40: "forty",
        50: "fifty",
        60: "sixty",
        70: "seventy",
        80: "eighty",
        90: "ninety",
        100: "hundred",
    }.items()
    for number, word in enumerate(words.split(), number)
}
_WORD = re.compile(r"[a-z]+")


def sentence_bounds(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the sentences of an answer begin and end; headings are none.

    A line is a sentence by itself unless it ends with a colon or goes on in lower case. The marks
    behind a sentence belong to it.
    """
    start = 0
    for stop in [*_STOP.finditer(text), None]:
        end = stop.end() if stop else len(text)
        if stop and not _ends(text, start, stop):
            continue
        words = text[start:end]
        if re.search(r"[^\W_]", _unmarked(words)) and not _HEADING.fullmatch(words.strip()):
            yield end - len(words.lstrip()), start + len(words.rstrip())
        start = end


def _ends(text: str, start: int, stop: re.Match[str]) -> bool:
    before = text[start : stop.start()]
    if stop["line"]:
        return _ends_line(before, text, stop.end())
    return not stop["stop"] or _ends_at_stop(before, stop["stop"], text, stop.end())


def _ends_line(before: str, text: str, end: int) -> bool:
    # A mark on a line of its own belongs to the line above.
    goes_on = any(kind.match(text, end) for kind in (_GOES_ON, MARK, UNVERIFIED))
    wrapped = _WRAPPED.match(text, end) and before[-1:].isalnum()
    return not (goes_on or wrapped or before.rstrip().endswith(":"))


def _ends_at_stop(before: str, stop: str, text: str, end: int) -> bool:
    follows = _NEXT.match(text, end)
    following = text[follows.end() : follows.end() + 1] if follows else ""
    line = before.rpartition("\n")[2]
    if stop == "." and _BEFORE_NUMBER.search(line) and following.isdigit():
        return False
    return not (following.islower() or (stop == "." and _ABBREVIATION.search(line)))


def _unmarked(text: str) -> str:
    return UNVERIFIED.sub("", MARK.sub("", text))


def numbers(text: str) -> Iterator[tuple[str, set[Decimal]]]:
    """Yield the numbers in a text, and what each may mean: "1.000" is a thousand or one.

    The numbers of list items and of citation marks are left out.
    """
    for found in _NUMBER.finditer(_NUMBERING.sub("", _unmarked(text))):
        yield found[0], _meanings(found[0])


def spelled(text: str) -> set[Decimal]:
    """Return the numbers that a text spells out in English."""
    return {_SPELLED[word] for word in _WORD.findall(text.lower()) if word in _SPELLED}


def _meanings(number: str) -> set[Decimal]:
    meanings = set()
    if _GROUPED.fullmatch(number):
        meanings.add(Decimal(re.sub(r"\D", "", number)))
    *whole, last = re.split(r"\D", number)
    if not meanings or (len(whole) == 1 and number[-4] in ".,"):
        # The last separator is the decimal one: 3.5, 3,5, 1,234.56.
        meanings.add(Decimal(f"{''.join(whole)}.{last}" if whole else last))
    return meanings
