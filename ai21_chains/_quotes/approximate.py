"""Find a quote that leaves words out or has typing slips in it.

Both stages are guarded: what the quote leaves out or changes must not alter the meaning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise, repeat
from typing import NamedTuple, TypeVar

from ai21_chains._quotes.elision import dropped_bound, dropped_negation, joins_sentences
from ai21_chains._quotes.search import (
    MIN_LENGTH,
    Hit,
    Miss,
    Quote,
    Reason,
    Source,
    cut_miss,
    cuts_word,
    has_word,
    is_whole,
    occurrences,
)
from ai21_chains._quotes.wording import (
    MAX_ABBREVIATION,
    Difference,
    Token,
    align,
    could_be_slip,
    is_function,
    is_known,
    judge,
    tokenize,
)

_T = TypeVar("_T")

MAX_PARTS = 12
"""Parts of an elided quote."""
MIN_SKIP, MAX_SKIP = 200, 1_000
"""Characters that an ellipsis may always, and may at most, stand for."""
MIN_TOKENS = 4
"""Words of a quote in which a slip can be told from another sentence."""
MIN_PIECE, MAX_PIECES = 3, 24
"""Words of a piece that is looked up, and how many pieces are."""
MIN_ANCHORS, MAX_ANCHORS, MAX_CANDIDATES = 4, 100, 8
"""Places of a piece that are looked at in one of many texts, in all of them about, and passages of
a text that are compared with the quote."""
MAX_COMPARED, COMPARISON = 150_000, 300
"""Characters that are compared with the quote in all texts, of which a comparison counts for some.
Repetitive documents of some megabytes have thousands of passages that come near; this is the work
of about a tenth of a second."""
MIN_SHARE = 0.25
"""Share of the quote's words that must stand in a passage before it is compared."""
MIN_SCORE, MIN_NEAR = 0.9, 0.6
"""Similarity of a quote that is accepted, and of one that is rejected as altered."""
BUCKET = 32
"""Characters by which two pieces of one passage may be shifted."""
MAX_FRAGMENT = 2
"""Letters of a rest of a word ("th", "o") that is no word, though it may stand in the source."""
MIN_NAME = 6
"""Letters of a name for a misspelling to be recognized: Smyth may be another one than Smith."""


def find_elided(sources: Sequence[Source], quote: Quote) -> Iterator[tuple[int, Hit | Miss]]:
    """Find the parts of a quote around its ellipses, in order and close together."""
    parts = quote.parts
    if not 1 <= len(parts) <= MAX_PARTS or max(map(len, parts)) < MIN_LENGTH:
        return
    for index, source in enumerate(sources):
        for finding in _find_parts(source, parts, _share(sources)):
            yield index, finding


def _share(sources: Sequence[Source]) -> int:
    """Return how many places of a piece are looked at in each source."""
    return max(MIN_ANCHORS, MAX_ANCHORS // len(sources))


def _find_parts(source: Source, parts: list[str], places: int) -> Iterator[Hit | Miss]:
    anchor = max(range(len(parts)), key=lambda index: len(parts[index]))
    normal = source.normal.text
    found: dict[tuple[int, int], Hit | Miss] = {}
    for at in islice(occurrences(normal, parts[anchor]), places):
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
    places = [start + at for at in occurrences(window, part)]
    for at in places[::step]:
        if not any(cuts_word(source.text, o) for o in source.normal.span(at, at + len(part))):
            return at, at + len(part)
    return None


def _judge_parts(source: Source, spans: list[tuple[int, int]]) -> Hit | Miss:
    start, end = source.normal.span(spans[0][0], spans[-1][1])
    if cuts_word(source.text, start) or cuts_word(source.text, end):
        return cut_miss(source.text, start, end)
    for (_, left), (right, stop) in pairwise(spans):
        normal = source.normal.text
        reason = _elision_defect(normal[left:right], normal[right:stop])
        if reason:
            detail = f'the ellipsis drops "{normal[left:right].strip()}"'
            return Miss(start, end, reason, detail, 1.0)
    return Hit(start, end, "elided")


def _elision_defect(skipped: str, after: str) -> Reason | None:
    """Return how the meaning changes without the skipped text, if it does."""
    if dropped_negation(skipped, after):
        return "altered_negation"
    only_signs = not any(map(str.isalnum, skipped))
    if dropped_bound(skipped, after) or (only_signs and any(sign in skipped for sign in "%$€£¥")):
        return "altered_number"
    if len(skipped) > MIN_SKIP and joins_sentences(skipped):
        return "altered_word"
    return None


def find_fuzzy(sources: Sequence[Source], quote: Quote) -> Iterator[tuple[int, Hit | Miss]]:
    """Find the quote with typing slips, spacing, punctuation and light words changed."""
    if len(quote.tokens) < MIN_TOKENS:
        return
    found: dict[tuple[int, int, int], Hit | Miss] = {}
    for size in _sizes(len(quote.tokens)):
        for index, finding in _search_all(sources, quote, size):
            place = index, finding.start, finding.end
            if isinstance(found.get(place), Miss | None):
                found[place] = finding
        if any(finding.score >= MIN_SCORE for finding in found.values()):
            break
    for place in sorted(found):
        yield place[0], found[place]


def _sizes(words: int) -> list[int]:
    """Return the sizes of the pieces that are looked up, one after the other.

    One slip spoils one half of the quote; the other stands in the source as it is, and hardly a
    second time. Only when there are more slips are shorter pieces needed.
    """
    return sorted({max(MIN_PIECE, -(-words // 2)), max(MIN_PIECE, -(-words // 4)), MIN_PIECE})[::-1]


def _search_all(
    sources: Sequence[Source], quote: Quote, size: int
) -> Iterator[tuple[int, Hit | Miss]]:
    """Compare the quote with the likeliest passages, as many as MAX_COMPARED allows."""
    # The sources take turns, the best place of each first, so that all have their share.
    searches = [
        zip(repeat(index), _search(source, quote, size, _share(sources)), strict=False)
        for index, source in enumerate(sources)
    ]
    most = max(MAX_CANDIDATES, MAX_COMPARED // (len(quote.normal) + COMPARISON))
    for index, finding in islice(_in_turns(searches), most):
        if finding is not None:
            yield index, finding


def _search(source: Source, quote: Quote, size: int, places: int) -> Iterator[Hit | Miss | None]:
    """Yield the outcome of each comparison."""
    for anchor in _anchors(source.normal.text, quote, size, places):
        finding = _compare(source, quote, anchor.token, anchor.at)
        yield finding
        if isinstance(finding, Hit) and anchor.only:
            return


def _in_turns(iterators: Iterable[Iterator[_T]]) -> Iterator[_T]:
    """Yield one item of each, then the next of each, until all have ended."""
    waiting = deque(iterators)
    while waiting:
        one = waiting.popleft()
        for item in one:
            yield item
            waiting.append(one)
            break


class _Anchor(NamedTuple):
    """A token of the quote, and where it and those after it may stand in the source."""

    token: int
    at: int
    only: bool = False
    """Whether they stand nowhere else, so that the quote does not either."""


def _anchors(normal: str, quote: Quote, size: int, most: int) -> Iterator[_Anchor]:
    """Yield places to compare, because pieces of so many words stand there."""
    votes: dict[int, tuple[int, _Anchor]] = {}
    tried: set[int] = set()
    for token, start, end in _pieces(quote, size):
        places = _places(normal, quote.normal[start:end], most)
        for at in places:
            place = (at - start) // BUCKET
            count = votes[place][0] if place in votes else 0
            votes[place] = (count + size, _Anchor(token, at))
        if len(places) == 1 and place not in tried:
            tried.add(place)
            yield _Anchor(token, places[0], only=True)
    best = sorted(votes.items(), key=_count_votes, reverse=True)[:MAX_CANDIDATES]
    for place, (count, anchor) in best:
        if place not in tried and count >= MIN_SHARE * len(quote.tokens):
            yield anchor


def _pieces(quote: Quote, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield pieces of so many tokens: the first token, and the span in the normal form."""
    pieces = range(0, len(quote.tokens), size)
    for first in pieces[:: 1 + len(pieces) // MAX_PIECES]:
        piece = quote.tokens[first : first + size]
        yield first, piece[0].start, piece[-1].end


def _places(normal: str, piece: str, most: int) -> list[int]:
    """Return where a piece stands in the source, not as a part of longer words."""
    places = islice(occurrences(normal, piece), most)
    return [at for at in places if is_whole(normal, at, at + len(piece))]


def _count_votes(item: tuple[int, tuple[int, _Anchor]]) -> int:
    return item[1][0]


class _Passage(NamedTuple):
    """What the source has in the quote's place: the normal span, and the differences."""

    start: int
    end: int
    differences: list[Difference]


def _compare(source: Source, quote: Quote, first: int, at: int) -> Hit | Miss | None:
    """Compare the quote with the source so that the quote's token `first` stands at `at`."""
    passage = _aligned(source.normal.text, quote, first, at)
    if passage is None:
        return None
    score = max(0.0, 1 - sum(d.size for d in passage.differences) / len(quote.normal))
    if score < MIN_NEAR:
        return None
    start, end = source.normal.span(passage.start, passage.end)
    english = quote.has_english and source.english
    altered = judge(passage.differences, english, _slip_test(source, start, end))
    if altered:
        return Miss(start, end, altered[0], altered[1], score)
    if score < MIN_SCORE:
        return Miss(start, end, "altered_word", "too much of it differs", score)
    if cuts_word(source.text, start) or cuts_word(source.text, end):
        return cut_miss(source.text, start, end)
    return Hit(start, end, "fuzzy", score)


def _aligned(normal: str, quote: Quote, first: int, at: int) -> _Passage | None:
    """Align the quote's tokens after `first`, and backwards those before, with the source."""
    slack = len(quote.normal) // 8 + 40
    before, after = quote.tokens[:first], quote.tokens[first:]
    left = tokenize(normal, max(0, at - quote.tokens[first].start - slack), at)
    right = tokenize(normal, at, at + len(quote.normal) + slack)
    backward = align(before[::-1], left[::-1])
    forward = align(after, right)
    # Signs that are a token in the quote, such as "[*]", may be none in the source.
    if backward is None or forward is None or not right:
        return None
    begin = left[len(left) - backward[1]] if backward[1] else right[0]
    last = right[forward[1] - 1] if forward[1] else left[-1]
    differences = [d.reversed() for d in reversed(backward[0])] + forward[0]
    return _Passage(begin.start, last.end, differences)


def _slip_test(source: Source, start: int, end: int) -> Callable[[str, Token], bool]:
    """Return the test for typing slips in the passage `[start, end)`."""
    normal = source.normal
    passage = source.text[start:end]
    capitals = sum(map(str.isupper, passage)) > sum(map(str.islower, passage))

    def is_slip(word: str, token: Token) -> bool:
        if not could_be_slip(word, token.text):
            return False
        # A word that the source itself uses was hardly mistyped: it was put for another.
        if len(word) > MAX_FRAGMENT and word in source.words and not is_function(token.text):
            return False
        original = source.text[slice(*normal.span(token.start, token.end))]
        plain = capitals or original == original.lower()
        return plain or not _is_short_name(source, original, word)

    return is_slip


def _is_short_name(source: Source, original: str, word: str) -> bool:
    """Return whether a word that has capitals is a name of which `word` may be another one.

    Abbreviations one letter apart are other things (LLC and LLP), and so are short names.
    """
    name = original.lower()
    if is_known(name) or has_word(source.text, name):
        return False
    if original.isupper():
        return len(original) <= MAX_ABBREVIATION
    return len(name) < MIN_NAME and sorted(word) != sorted(name)  # two letters changed places
