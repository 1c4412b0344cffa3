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
from itertools import islice, pairwise
from typing import Literal

from ai21_chains._normalize import NormalText, fold_char, normalize
from ai21_chains._wording import (
    MAX_ABBREVIATION,
    Token,
    align,
    could_be_slip,
    count_english,
    dropped_negation,
    judge,
    looks_english,
    tokenize,
)

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
MAX_PARTS = 12
MIN_SKIP, MAX_SKIP = 200, 1_000
"""Characters that an ellipsis may always, and may at most, stand for."""
MIN_TOKENS = 4
MIN_PIECE, MAX_PIECES = 3, 48
MAX_ANCHORS = 100
MAX_CANDIDATES = 8
MIN_SHARE = 0.25
MIN_SCORE = 0.9
BUCKET = 32
SAMPLE = 10_000
"""Characters before and after the middle of a text that tell its language."""
MAX_FRAGMENT = 2
"""Letters of a rest of a word ("th", "o") that is no word, though it may stand in the source."""

_PUNCTUATION = " .,;:!?\"')]"
_ELLIPSIS = re.compile(r"[\[(<{]\s*(?:\.(?:\s?\.){2,}|omitted|snip)\s*[\])>}]|\.(?:\s?\.){2,}")
_OUTER = " \t\r\n\v\f\"'“”„‟«»‘’‚‹›`"
_CONTEXT = 16
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
    def english(self) -> bool:
        """Whether the text looks English, judged by a sample from its middle."""
        middle = len(self.normal.text) // 2
        return looks_english(self.normal.text[max(0, middle - SAMPLE) : middle + SAMPLE])

    def uses(self, word: str) -> bool:
        """Return whether the normal form has `word` as a whole word."""
        text = self.normal.text
        return any(
            not text[at - 1 : at].isalpha()
            and not text[at + len(word) : at + len(word) + 1].isalpha()
            for at in _occurrences(text, word)
        )


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
    def parts(self) -> list[str]:
        """The parts in normal form between ellipses; empty when there is no ellipsis."""
        parts = _ELLIPSIS.split(self.normal)
        kept = [part.strip(_PUNCTUATION) for part in parts]
        return [part for part in kept if part] if len(parts) > 1 else []

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

    def stages(self) -> Iterator[Stage]:
        """Yield the stages to try, in order."""
        if self.defect != "empty":
            yield find_exact
        if not self.defect:
            yield from (find_normalized, find_elided, find_fuzzy)


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
    for needle in dict.fromkeys((quote.normal, quote.normal.rstrip(_PUNCTUATION))):
        found = False
        for at in _occurrences(normal.text, needle):
            found = True
            yield _bounded(source.text, *normal.span(at, at + len(needle)), "normalized")
        if found:
            return


def find_elided(source: Source, quote: Quote) -> Iterator[Hit | Miss]:
    """Find the parts of a quote around its ellipses, in order and close together."""
    parts = quote.parts
    if not 1 <= len(parts) <= MAX_PARTS or max(map(len, parts)) < MIN_LENGTH:
        return
    anchor = max(range(len(parts)), key=lambda index: len(parts[index]))
    normal = source.normal.text
    found: dict[tuple[int, int], Hit | Miss] = {}
    for at in islice(_occurrences(normal, parts[anchor]), MAX_ANCHORS):
        spans = [(at, at + len(parts[anchor]))]
        if _grow(source, spans, parts[:anchor], parts[anchor + 1 :]):
            found.setdefault((spans[0][0], spans[-1][1]), _judge_parts(source, spans))
    # The reading that skips least is the likeliest.
    yield from sorted(found.values(), key=lambda finding: finding.end - finding.start)


def _grow(
    source: Source, spans: list[tuple[int, int]], before: list[str], after: list[str]
) -> bool:
    """Add the nearest place of every part before and after `spans`; tell whether all have one."""
    for part in reversed(before):
        neighbour = spans[0]
        reach = _reach(part, neighbour)
        span = _nearest(source, part, max(0, neighbour[0] - reach - len(part)), neighbour[0], -1)
        if span is None:
            return False
        spans.insert(0, span)
    for part in after:
        neighbour = spans[-1]
        reach = _reach(part, neighbour)
        span = _nearest(source, part, neighbour[1], neighbour[1] + reach + len(part), 1)
        if span is None:
            return False
        spans.append(span)
    return True


def _reach(part: str, neighbour: tuple[int, int]) -> int:
    """Return how many characters an ellipsis may skip: the shorter its sides, the fewer."""
    shorter = min(len(part), neighbour[1] - neighbour[0])
    return min(MAX_SKIP, max(MIN_SKIP, 5 * shorter))


def _nearest(source: Source, part: str, start: int, end: int, step: int) -> tuple[int, int] | None:
    """Return the first (or with step -1, the last) span of `part` in a stretch of the source."""
    window = source.normal.text[start:end]
    places = [start + at for at in _occurrences(window, part)]
    for at in places[::step]:
        if not any(cuts_word(source.text, o) for o in source.normal.span(at, at + len(part))):
            return at, at + len(part)
    return None


def _judge_parts(source: Source, spans: list[tuple[int, int]]) -> Hit | Miss:
    start, end = source.normal.span(spans[0][0], spans[-1][1])
    whole = _bounded(source.text, start, end, "elided")
    if isinstance(whole, Miss):
        return whole
    for (_, left), (right, _) in pairwise(spans):
        skipped = source.normal.text[left:right]
        if dropped_negation(skipped):
            detail = f'the ellipsis drops "{skipped.strip()}"'
            return Miss(start, end, "altered_negation", detail, 1.0)
    return whole


def find_fuzzy(source: Source, quote: Quote) -> Iterator[Hit | Miss]:
    """Find the quote with typing slips, spacing, punctuation and light words changed."""
    if len(quote.tokens) < MIN_TOKENS:
        return
    found: dict[tuple[int, int], Hit | Miss] = {}
    for token, at in _anchors(source.normal.text, quote):
        finding = _compare(source, quote, token, at)
        if finding is not None:
            known = found.setdefault((finding.start, finding.end), finding)
            if isinstance(known, Miss):
                found[known.start, known.end] = finding
    yield from found.values()


def _anchors(normal: str, quote: Quote) -> Iterator[tuple[int, int]]:
    """Yield places to compare: a token of the quote, and where it stands in the source.

    One slip spoils one of four pieces of the quote; the other three stand in the source as they
    are. Only when there are more slips are shorter pieces needed.
    """
    for size in (max(MIN_PIECE, -(-len(quote.tokens) // 4)), MIN_PIECE):
        votes: dict[int, tuple[int, int, int]] = {}
        pieces = range(0, len(quote.tokens), size)
        for first in pieces[:: 1 + len(pieces) // MAX_PIECES]:
            piece = quote.tokens[first : first + size]
            start, end = piece[0].start, piece[-1].end
            for at in islice(_occurrences(normal, quote.normal[start:end]), MAX_ANCHORS):
                place = (at - start) // BUCKET
                count = votes.get(place, (0, 0, 0))[0]
                votes[place] = (count + len(piece), first, at)
        best = sorted(votes.values(), reverse=True)[:MAX_CANDIDATES]
        for count, first, at in best:
            if count >= MIN_SHARE * len(quote.tokens):
                yield first, at
        if best and best[0][0] >= len(quote.tokens) / 2:
            return


def _compare(source: Source, quote: Quote, first: int, at: int) -> Hit | Miss | None:
    """Compare the quote with the source so that the quote's token `first` stands at `at`."""
    normal = source.normal
    slack = len(quote.normal) // 8 + 40
    before, after = quote.tokens[:first], quote.tokens[first:]
    left = tokenize(normal.text, max(0, at - quote.tokens[first].start - slack), at)
    right = tokenize(normal.text, at, at + len(quote.normal) + slack)
    backward = align(before[::-1], left[::-1])
    forward = align(after, right)
    if backward is None or forward is None:
        return None
    begin = left[len(left) - backward[1]] if backward[1] else right[0]
    last = right[forward[1] - 1] if forward[1] else left[-1]
    start, end = normal.span(begin.start, last.end)
    differences = [d.reversed() for d in reversed(backward[0])] + forward[0]
    score = max(0.0, 1 - sum(d.size for d in differences) / len(quote.normal))
    altered = judge(
        differences,
        quote.has_english and source.english,
        _slip_test(source, begin.start, last.end),
    )
    if altered:
        return Miss(start, end, altered[0], altered[1], score)
    if score < MIN_SCORE:
        return Miss(start, end, "altered_word", "too much of it differs", score)
    finding = _bounded(source.text, start, end, "fuzzy")
    return Hit(start, end, "fuzzy", score) if isinstance(finding, Hit) else finding


def _slip_test(source: Source, start: int, end: int) -> Callable[[str, Token], bool]:
    """Return the test for typing slips in the normal span `[start, end)`."""
    normal = source.normal
    passage = source.text[slice(*normal.span(start, end))]
    capitals = sum(map(str.isupper, passage)) > sum(map(str.islower, passage))

    def is_slip(word: str, token: Token) -> bool:
        original = source.text[slice(*normal.span(token.start, token.end))]
        # Abbreviations that are one letter apart are other things: LLC and LLP, USDT and USDC.
        if original.isupper() and not capitals and len(original) <= MAX_ABBREVIATION:
            return False
        # A word that the source itself uses was hardly mistyped: it was put for another.
        fragment = len(word) <= MAX_FRAGMENT
        return could_be_slip(word, token.text) and (fragment or not source.uses(word))

    return is_slip


def _occurrences(text: str, needle: str) -> Iterator[int]:
    at = text.find(needle) if needle else -1
    while at >= 0:
        yield at
        at = text.find(needle, at + len(needle))


def _bounded(text: str, start: int, end: int, match: Match) -> Hit | Miss:
    """Return a hit, or a miss when the span begins or ends inside a word or a number."""
    cuts = [at for at in (start, end) if cuts_word(text, at)]
    if not cuts:
        return Hit(start, end, match)
    outer_start, outer_end = start, end
    while outer_start > 0 and not text[outer_start - 1].isspace():
        outer_start -= 1
    while outer_end < len(text) and not text[outer_end].isspace():
        outer_end += 1
    number = any(map(str.isdigit, "".join(text[max(0, at - 2) : at + 2] for at in cuts)))
    reason: Reason = "altered_number" if number else "inside_word"
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
        return bool(_INSIDE_UNSPACED.search(seam))
    return bool(_INSIDE.search(seam))


def _visible(text: str) -> str:
    return "".join(char for char in text if char != "\x1f" and fold_char(char))
