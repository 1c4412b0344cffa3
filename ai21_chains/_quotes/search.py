"""Find a quote in texts, character by character or in another spelling.

A stage of the search is a function from sources and a quote to findings, each with the index of
its source: `Hit` for a place where the source says it, `Miss` for a place that comes near but says
something else. The stages for quotes that differ in more than spelling are in `approximate`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from itertools import islice
from typing import Literal

from ai21_chains._quotes.normalize import NormalText, fold_char, normalize, points
from ai21_chains._quotes.wording import Token, count_english, looks_english, tokenize

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
SAMPLE = 10_000
"""Characters before and after the middle of a text that tell its language."""

PUNCTUATION = " .,;:!?\"')]"
_ELLIPSIS = re.compile(r"[\[(<{]\s*(?:\.(?:\s?\.){2,}|omitted|snip)\s*[\])>}]|\.(?:\s?\.){2,}")
_OUTER = " \t\r\n\v\f\"'“”„‟«»‘’‚‹›`"
_CONTEXT, _SEAM = 16, 4
_WORD = re.compile(r"[^\W\d_]+")
# A cut between a word and a space.
_PLAIN = re.compile("[a-zA-Z0-9] \x1f[!-~]|.?[a-zA-Z0-9]\x1f ", re.DOTALL)
# Scripts that are written without spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_INSIDE_UNSPACED = re.compile(
    "[不非未無无没沒勿]\x1f|[一二三四五六七八九十百千万億亿两兩]\x1f[一二三四五六七八九十百千万億亿]"
)
_INSIDE = re.compile(
    r"[^\W_]['’‐‑-]?\x1f['’‐‑-]?[^\W_]"  # word|word, can|'t, non-|exclusive
    r"|\d[.,:/–]?\x1f[.,:/–]?\d"  # 1,|000  3|.5  10–|15
    r"|[$€£¥]\x1f\d|(?:^|[\s(])[-−+]\x1f\d|\d\x1f[%‰°]"
    r"|[$€£¥][\[(]?\x1f[\[(]?[*•_…]"  # the signs of a number that is blacked out
    r"|[*•_][\])…]{0,3}\x1f[\])…]{0,3}[%‰]"
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

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of the normal form."""
        # Texts repeat their words: most of the time would go into finding them again.
        return frozenset(_WORD.findall(" ".join(set(self.normal.text.split()))))

    @cached_property
    def english(self) -> bool:
        """Whether the text looks English, judged by a sample from its middle."""
        middle = len(self.normal.text) // 2
        return looks_english(self.normal.text[max(0, middle - SAMPLE) : middle + SAMPLE])


@dataclass(frozen=True)
class Quote:
    """A quote as the model wrote it, and the forms in which it is searched."""

    text: str

    @cached_property
    def spellings(self) -> list[str]:
        """The quote without white-space around it, then without quotation marks as well."""
        return list(dict.fromkeys((self.text.strip(), self.text.strip(_OUTER))))

    @cached_property
    def normal(self) -> str:
        """The normal form, without surrounding quotation marks and white-space."""
        return normalize(self.text.strip(_OUTER)).text.strip(_OUTER)

    @cached_property
    def parts(self) -> list[str]:
        """The parts in normal form between ellipses; empty when there is no ellipsis."""
        parts = _ELLIPSIS.split(self.normal)
        kept = [part.strip(PUNCTUATION) for part in parts]
        return [part for part in kept if part] if len(parts) > 1 else []

    @cached_property
    def points(self) -> str:
        """The vowel points of Hebrew and Arabic. A source without them does not have the quote."""
        return points(self.text)

    @cached_property
    def tokens(self) -> list[Token]:
        """The words and numbers of the normal form."""
        return tokenize(self.normal)

    @cached_property
    def has_english(self) -> bool:
        """Whether there is a frequent English word in the quote."""
        return count_english(self.normal) > 0

    @cached_property
    def defect(self) -> Reason | None:
        """Why the quote is searched only as it stands, or not at all; None for a usual quote."""
        if not any(map(str.isalnum, self.text)):
            return "empty"
        if len(self.text) > MAX_LENGTH:
            return "not_found"
        return "too_short" if len(self.normal) < MIN_LENGTH else None


Stage = Callable[[Sequence[Source], Quote], Iterator[tuple[int, Hit | Miss]]]


def _in_each(find: Callable[[Source, Quote], Iterator[Hit | Miss]]) -> Stage:
    """Make a stage of the search in one source."""

    @wraps(find)
    def stage(sources: Sequence[Source], quote: Quote) -> Iterator[tuple[int, Hit | Miss]]:
        for index, source in enumerate(sources):
            for finding in find(source, quote):
                yield index, finding

    return stage


@_in_each
def find_exact(source: Source, quote: Quote) -> Iterator[Hit | Miss]:
    """Find the quote character by character."""
    for spelling in quote.spellings:
        places = occurrences(source.text, spelling)
        if len(spelling) < MIN_LENGTH and spelling.isascii():
            places = iter(_whole_words(source.text, spelling) or list(islice(places, 1)))
        spans = ((at, at + len(spelling)) for at in places)
        findings = _findings(source.text, spans, "exact")
        if findings:
            yield from findings
            return


@_in_each
def find_normalized(source: Source, quote: Quote) -> Iterator[Hit | Miss]:
    """Find the quote in normal form, then without its closing punctuation."""
    normal = source.normal
    bare = quote.normal.rstrip(PUNCTUATION)
    first = normal.text.find(bare)
    if first < 0:
        return
    for needle in dict.fromkeys((quote.normal, bare)):
        spans = (
            normal.span(at, at + len(needle)) for at in occurrences(normal.text, needle, first)
        )
        if quote.points:
            spans = (span for span in spans if points(source.text[slice(*span)]) == quote.points)
        findings = _findings(source.text, spans, "normalized")
        if findings:
            yield from findings
            return


def _whole_words(text: str, word: str) -> list[int]:
    """Return where a short word stands, without the thousands of places inside other words."""
    edge = "[a-zA-Z0-9]"
    escaped = re.escape(word)
    after = f"(?!{edge})" if word[-1].isalnum() else ""
    before = f"(?<!{edge}{escaped})" if word[0].isalnum() else ""
    return [found.start() for found in re.finditer(escaped + after + before, text)]


def _findings(text: str, spans: Iterable[tuple[int, int]], match: Match) -> Sequence[Hit | Miss]:
    """Return the first hits among the spans, or when there is none the first miss."""
    hits: list[Hit] = []
    first: tuple[int, int] | None = None
    for start, end in spans:
        first = first or (start, end)
        if not (cuts_word(text, start) or cuts_word(text, end)):
            hits.append(Hit(start, end, match))
            if len(hits) == MAX_OCCURRENCES:
                break
    if hits or first is None:
        return hits
    return [cut_miss(text, *first)]


def is_whole(text: str, start: int, end: int) -> bool:
    """Return whether no letter stands right before or after `text[start:end]`."""
    return not text[max(0, start - 1) : start].isalpha() and not text[end : end + 1].isalpha()


def has_word(text: str, word: str) -> bool:
    """Return whether `word` stands in the text as a whole word."""
    return any(is_whole(text, at, at + len(word)) for at in occurrences(text, word))


def occurrences(text: str, needle: str, start: int = 0) -> Iterator[int]:
    at = text.find(needle, start) if needle else -1
    while at >= 0:
        yield at
        at = text.find(needle, at + len(needle))


def cut_miss(text: str, start: int, end: int) -> Miss:
    """Return the miss for a span that begins or ends inside a word or a number."""
    edges = [text[max(0, at - 2) : at + 2] for at in (start, end) if cuts_word(text, at)]
    number = any(map(str.isdigit, "".join(edges)))
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    while end < len(text) and not text[end].isspace():
        end += 1
    return Miss(start, end, "altered_number" if number else "inside_word", "", 1.0)


def cuts_word(text: str, at: int) -> bool:
    """Return whether a cut at offset `at` divides a word, a number or a character cluster.

    >>> cuts_word("150 days", 1), cuts_word("unlawful", 2), cuts_word("the end", 3)
    (True, True, False)
    """
    left, right = text[max(0, at - _CONTEXT) : at], text[at : at + _CONTEXT]
    # Nearly all cuts are plain ones; a look at the characters around is 20 times slower.
    if not left or not right or _PLAIN.fullmatch(left[-2:] + "\x1f" + right[0]):
        return False
    return _cuts_cluster(left[-1], right[0]) or _cuts_visible(left, right)


def _cuts_cluster(before: str, after: str) -> bool:
    """Return whether two characters are one to the eye: a letter and its accent, an emoji."""
    return "\u200d" in (before, after) or unicodedata.category(after)[0] == "M"


def _cuts_visible(left: str, right: str) -> bool:
    """Return whether a word or number goes on, were there neither line ends nor hidden signs."""
    if right[0].islower():
        left = _LINE_HYPHEN.sub("", left)
    right = _LINE_HYPHEN_NEXT.sub("", right)
    left, right = _visible(left)[-_SEAM:], _visible(right)[:_SEAM]
    inside = _INSIDE_UNSPACED if _UNSPACED.search(left[-1:] + right[:1]) else _INSIDE
    return bool(inside.search(f"{left}\x1f{right}"))


def _visible(text: str) -> str:
    return "".join(char for char in text if char != "\x1f" and fold_char(char))
