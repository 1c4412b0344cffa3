"""The stages that find a quote in one text, from the strictest to the most lenient.

Every stage is a function from a source and a quote to findings: `Hit` for a place where the
source says it, `Miss` for a place that comes near but says something else. Nothing here knows
about documents, models or numbering.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Literal

from ai21_chains._normalize import NormalText, fold_char, normalize

Match = Literal["exact", "normalized", "elided", "fuzzy"]
Reason = Literal[
    "empty", "too_short", "not_found", "inside_word", "altered_number", "altered_negation",
    "altered_word",
]  # fmt: skip

MIN_LENGTH = 8
"""Normalised characters below which a quote is searched only as it stands."""
MAX_LENGTH = 20_000
"""Characters above which a quote is searched only as it stands."""
MAX_OCCURRENCES = 1_000
"""Occurrences in one text after which counting stops."""

_OUTER = " \t\r\n\v\f\"'“”„‟«»‘’‚‹›`"
_CONTEXT = 16
# Scripts that are written without spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_BOUND_UNSPACED = re.compile(
    "[不非未無无没沒勿]\x1f|[一二三四五六七八九十百千万億亿两兩]\x1f[一二三四五六七八九十百千万億亿]"
)
_INSIDE = re.compile(
    r"[^\W_]['’‐‑-]?\x1f['’‐‑-]?[^\W_]"  # word|word, can|'t, non-|exclusive
    r"|\d[.,:/–]?\x1f[.,:/–]?\d"  # 1,|000  3|.5  10–|15
    r"|[$€£¥]\x1f\d|(?:^|[\s(])[-−+]\x1f\d|\d\x1f[%‰°]"
)
_LINE_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\xad\x02\ufffe]\s*\n\s*\Z")
_LINE_HYPHEN_NEXT = re.compile(r"\A[-\xad\x02\ufffe]\s*\n\s*(?=[^\W\d_])")


@dataclass(frozen=True, slots=True)
class Hit:
    """A place `[start, end)` of the source that says what the quote says."""

    start: int
    end: int
    match: Match
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Miss:
    """A place `[start, end)` of the source that comes near, and why it is not the quote."""

    start: int
    end: int
    reason: Reason
    detail: str
    score: float = 0.0


@dataclass(frozen=True)
class Source:
    """A text to search; its normal form is made when it is first needed, and kept."""

    text: str

    @cached_property
    def normal(self) -> NormalText:
        """The normal form of the text."""
        return normalize(self.text)


@dataclass(frozen=True)
class Quote:
    """A quote as the model wrote it, and the forms in which it is searched."""

    text: str

    @cached_property
    def spellings(self) -> list[str]:
        """The quote as it stands, and without surrounding quotation marks and white-space."""
        return list(dict.fromkeys((self.text, self.text.strip(_OUTER))))

    @cached_property
    def normal(self) -> str:
        """The normal form, without surrounding quotation marks and white-space."""
        return normalize(self.text.strip(_OUTER)).text.strip(_OUTER)

    @cached_property
    def defect(self) -> Reason | None:
        """Why the quote is searched only as it stands, or not at all; None for a usual quote."""
        if not any(map(str.isalnum, self.text)):
            return "empty"
        if len(self.text) > MAX_LENGTH:
            return "not_found"
        return "too_short" if len(self.normal) < MIN_LENGTH else None

    def stages(self) -> Iterator[Stage]:
        """Yield the stages to try, in order."""
        if self.defect != "empty":
            yield find_exact
        if not self.defect:
            yield from (find_normalized,)


Stage = Callable[[Source, Quote], Iterator[Hit | Miss]]


def find_exact(source: Source, quote: Quote) -> Iterator[Hit | Miss]:
    """Find the quote character by character."""
    for spelling in quote.spellings:
        found = False
        for start in _occurrences(source.text, spelling):
            found = True
            yield _bounded(source.text, start, start + len(spelling), "exact")
        if found:
            return


def find_normalized(source: Source, quote: Quote) -> Iterator[Hit | Miss]:
    """Find the quote in normal form, then without its closing punctuation."""
    normal = source.normal
    for needle in dict.fromkeys((quote.normal, quote.normal.rstrip(" .,;:!?\"')]"))):
        found = False
        for at in _occurrences(normal.text, needle):
            found = True
            yield _bounded(source.text, *normal.span(at, at + len(needle)), "normalized")
        if found:
            return


def _occurrences(text: str, needle: str) -> Iterator[int]:
    return islice(_all_occurrences(text, needle), 50 * MAX_OCCURRENCES)


def _all_occurrences(text: str, needle: str) -> Iterator[int]:
    at = text.find(needle) if needle else -1
    while at >= 0:
        yield at
        at = text.find(needle, at + len(needle))


def _bounded(text: str, start: int, end: int, match: Match) -> Hit | Miss:
    """Return a hit, or a miss when the span begins or ends inside a word or a number."""
    if not (cuts_word(text, start) or cuts_word(text, end)):
        return Hit(start, end, match)
    outer_start, outer_end = start, end
    while outer_start > 0 and not text[outer_start - 1].isspace():
        outer_start -= 1
    while outer_end < len(text) and not text[outer_end].isspace():
        outer_end += 1
    cut = text[outer_start:start][-1:] + text[end:outer_end][:1]
    reason: Reason = "altered_number" if re.search(r"\d", cut) else "inside_word"
    return Miss(outer_start, outer_end, reason, "", 1.0)


def cuts_word(text: str, at: int) -> bool:
    """Return whether a cut at offset `at` divides a word, a number or a character cluster.

    >>> cuts_word("150 days", 1), cuts_word("unlawful", 2), cuts_word("the end", 3)
    (True, True, False)
    """
    left, right = text[max(0, at - _CONTEXT) : at], text[at : at + _CONTEXT]
    if not left or not right:
        return False
    if right[0] == "\u200d" or left[-1] == "\u200d" or unicodedata.category(right[0])[0] == "M":
        return True
    if right[0].islower():
        left = _LINE_HYPHEN.sub("", left)
    right = _LINE_HYPHEN_NEXT.sub("", right)
    left, right = _visible(left)[-2:], _visible(right)[:2]
    seam = f"{left}\x1f{right}"
    if _UNSPACED.search(left[-1:] + right[:1]):
        return bool(_BOUND_UNSPACED.search(seam))
    return bool(_INSIDE.search(seam))


def _visible(text: str) -> str:
    return "".join(char for char in text if char != "\x1f" and fold_char(char))
