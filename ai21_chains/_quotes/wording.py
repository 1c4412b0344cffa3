"""Which differences between a quote and its source leave the meaning as it is.

The word lists are English. Where a passage does not look English, only spacing and punctuation may
differ.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ai21_chains._quotes.vocabulary import is_word

Alteration = Literal["altered_number", "altered_negation", "altered_word"]

_TOKEN = re.compile(
    r"(?=\S)(?:"  # half of all tries are at a space; this is faster
    r"(?<!\w)\([a-z]\)"  # labels of clauses
    r"|[^\W\d_]+(?:'[^\W\d_]+)*"  # words, with apostrophes inside
    r"|\d+(?:[.,:/]\d+)*"  # numbers, amounts, dates, times
    r"|[%$&]|[+=<>](?=\s?\d)|(?<![\w.])-(?=\d)"  # signs that carry meaning
    r"|\*{3,}|(?<=\[)\*+(?=\])"  # what was blacked out
    # Whatever else is no punctuation: vowel signs, symbols, pictures.
    r"|[^\w\s\x00-\xa0\xab\xb7\xbb\u2010-\u205e\u25a0-\u25ff\u3000-\u303f])"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBERS = _words(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty
    ninety hundred thousand million billion trillion dozen half quarter third fourth first
    second fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
    fifteenth twentieth thirtieth fortieth fiftieth hundredth once twice thrice single double
    triple halves thirds quarters hundreds thousands millions billions"""
)
_UNITS = _words(
    """day days week weeks month months year years hour hours minute minutes seconds annum annual
    annually monthly weekly daily quarterly hourly yearly percent percentage dollar dollars euro
    euros pound pounds cent cents yen usd eur gbp mile miles kilometer kilometers meter meters
    foot feet inch inches acre acres barrel barrels ton tons gram grams kilogram kilograms liter
    liters gallon gallons january february march april june july august september october
    november december monday tuesday wednesday thursday friday saturday sunday"""
)
_NEGATIONS = _words(
    """not no never nor neither none nothing nobody nowhere cannot without except unless"""
)
# Words that make another contract of the sentence, although some are one letter apart.
_MEANINGFUL = _words(
    """may must shall will should can could would might need all any each every some both either or
    and if only but before after above below over under more less most least than maximum
    minimum greater fewer higher lower prior former latter earlier later include includes
    included exclude excludes excluded inclusive exclusive nonexclusive increase decrease accept
    except affect effect domestic foreign public private internal external inbound outbound
    legal illegal moral amoral formal direct indirect valid invalid void material immaterial
    import export gain loss net gross in on to from into onto within by for of with upon until
    till since during employer employee lessor lessee licensor licensee payer payor payee
    grantor grantee assignor assignee mortgagor mortgagee trustor trustee donor donee obligor
    obligee promisor promisee transferor transferee consignor consignee indemnitor indemnitee
    franchisor franchisee insurer insured buyer seller purchaser vendor supplier customer client
    provider contractor subcontractor owner tenant landlord borrower lender debtor creditor
    company party parties affiliate distributor manufacturer investor issuer
    recipient consultant agent operator partner principal guarantor shareholder subsidiary"""
)
_COMMON = _words(
    """hereof thereof hall losing tile title deferred referred
    a an the it its he his she her him they them
    their theirs we us our you your my me i this
    that these those there here then thus so such as at is are was were be been being am do does
    did done has have had who whom whose which what when where why how own out up off down per
    via also yet one form use set see day lay law low new now nor old ore our way well were ever
    even very made make time term terms part case sale same name data date note sole side site
    work word cost loss lost last list less lease least ease rate rates right rights form firm
    film file files filed filled"""
)
# Words that no noun, verb or adjective can stand for: "the parties hall pay" is a slip.
_FUNCTION = _words(
    """may must shall will should can could would might need dare ought
    a an the this that these those each every all any some both either such other another many
    much few several same own enough more most less least little half only
    in on at to of by for from with into onto within upon until till since during before after
    above below over under between among through across against toward towards about around
    along behind beside besides beyond despite down inside near off out outside past per round
    throughout up via versus like unlike
    and or but if as so than then though although because whereas while when where whether
    once also yet still too very just even ever
    i me my mine we us our ours you your yours he him his she her hers it its they them their
    theirs who whom whose which what why how here there hereof thereof herein therein hereby
    thereby hereto thereto hereunder thereunder
    is are was were be been being am do does did done has have had having"""
)
_PROTECTED = _NUMBERS | _UNITS | _NEGATIONS | _MEANINGFUL
_KNOWN = _PROTECTED | _COMMON
_ROMAN = re.compile(r"(?=.)(?:x{0,3})(?:ix|iv|v?i{0,3})")
# Words that the quote may have added, and that it may have dropped; never "and", "or" and "any".
_ADDED = _words("the a an of that")
_DROPPED = _ADDED | _words("to in on at for as with")
_SHORT = _COMMON | _DROPPED | _FUNCTION
_ENGLISH = re.compile(
    r"\b(?:the|of|and|to|or|shall|by|for|with|this|that|any|be|which|such|from|is|are|as|will|have|"
    r"has|its|it|their|each|between|been|not|if|you|your|we|our)\b"
)
_MIN_ENGLISH = 0.12
"""Share of these words above which a passage looks English; most English text has over 0.3."""
_MAX_FOREIGN = 0.05
_MIN_LETTERS, _MIN_NEGATION = 4, 3
"""Letters of a word, and of a negation, that is recognized when it is misspelt."""
_ALIKE = frozenset(
    word
    for words, least in (
        (_NUMBERS | _UNITS, _MIN_LETTERS),
        (_NEGATIONS, _MIN_NEGATION),
        (_MEANINGFUL, 6),
    )
    for word in words
    if len(word) >= least
)
"""Words for which a misspelling must leave no doubt."""
MAX_ABBREVIATION = 6
"""Letters of a word in capitals that may be an abbreviation."""
_MAX_GAP = 4
"""Words in a row that may differ before two passages are held to be different ones."""
_GAPS = sorted(
    ((a, b) for a in range(_MAX_GAP + 1) for b in range(_MAX_GAP + 1) if a or b),
    key=lambda gap: (sum(gap), abs(gap[0] - gap[1])),
)
"""How many words of the quote and of the source may be skipped, the likeliest first."""


class Token(NamedTuple):
    """A word, number or meaningful sign of a normal text, and its span there."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Words of the quote that stand in the place of other words of the source.

    `beside_number` tells whether a number or a sign is next to them.
    """

    quote: tuple[Token, ...]
    source: tuple[Token, ...]
    beside_number: bool

    @property
    def size(self) -> int:
        """Characters that differ, about: of two spellings of a word, one."""
        ours, theirs = _joined(self.quote), _joined(self.source)
        if ours == theirs:
            return 0
        if len(self.quote) != len(self.source):
            return max(len(ours), len(theirs))
        return sum(_one_or_all(a, b) for a, b in zip(self.quote, self.source, strict=True))

    def reversed(self) -> Difference:
        """Return the difference for both texts read in the other direction."""
        return Difference(self.quote[::-1], self.source[::-1], self.beside_number)


def tokenize(normal: str, start: int = 0, end: int | None = None) -> list[Token]:
    """Return the tokens of `normal[start:end]`; punctuation is left out."""
    found = _TOKEN.finditer(normal, start, len(normal) if end is None else end)
    return [Token("and" if m[0] == "&" else m[0], m.start(), m.end()) for m in found]


def align(quote: Sequence[Token], source: Sequence[Token]) -> tuple[list[Difference], int] | None:
    """Align all of `quote` with the beginning of `source`.

    Returns:
        The differences and how many tokens of the source are used, or None when the two are not
        the same passage.
    """
    differences: list[Difference] = []
    at, there = 0, 0
    while at < len(quote):
        if there < len(source) and quote[at].text == source[there].text:
            at, there = at + 1, there + 1
            continue
        gap = _resync(quote, at, source, there)
        if gap is None:
            return None
        after, beyond = at + gap[0], there + gap[1]
        beside = (*quote[max(0, at - 1) : at], *quote[after : after + 1])
        near = any(_is_number(token.text) for token in beside)
        differences.append(Difference(tuple(quote[at:after]), tuple(source[there:beyond]), near))
        at, there = after, beyond
    return differences, there


def _resync(
    quote: Sequence[Token], at: int, source: Sequence[Token], there: int
) -> tuple[int, int] | None:
    """Return how many tokens of both to skip until they agree again, as few as possible."""
    rest = len(quote) - at
    for skip, other in _GAPS:
        if skip < rest and _agree(quote, at + skip, source, there + other):
            return skip, other
    return None if rest > _MAX_GAP else (rest, _count_last(quote[at:], source[there:]))


def _agree(quote: Sequence[Token], at: int, source: Sequence[Token], there: int) -> bool:
    """Return whether the next two tokens, or the last one of the quote, are the same."""
    ours, theirs = quote[at : at + 2], source[there : there + 2]
    return len(ours) <= len(theirs) and all(
        a.text == b.text for a, b in zip(ours, theirs, strict=False)
    )


def _count_last(quote: Sequence[Token], source: Sequence[Token]) -> int:
    """Return how many tokens of the source the last ones of the quote stand for.

    Nothing is left to agree on: the same letters spaced otherwise, else as many words. Either text
    may be reversed here.
    """
    for count in range(min(len(quote) + 2, len(source)) + 1):
        found = source[:count]
        if _joined(quote) == _joined(found) or _joined(quote[::-1]) == _joined(found[::-1]):
            return count
    return min(len(quote), len(source))


def looks_english(normal: str) -> bool:
    """Return whether a normal text looks like English prose.

    >>> looks_english("the fee is due"), looks_english("die gebühr ist nicht fällig")
    (True, False)
    """
    return count_english(normal) >= _MIN_ENGLISH * len(normal.split())


def count_english(normal: str) -> int:
    """Count the most frequent English words; 0 if many letters are not of the English alphabet."""
    foreign = 0
    if not normal.isascii():
        foreign = sum(char.isalpha() for char in normal if not char.isascii())
    return len(_ENGLISH.findall(normal)) if foreign <= _MAX_FOREIGN * len(normal) else 0


def judge(
    differences: Sequence[Difference], english: bool, is_slip: Callable[[str, Token], bool]
) -> tuple[Alteration, str] | None:
    """Return why the differences change the meaning, or None when they do not.

    Args:
        differences: What `align` found.
        english: Whether words may differ at all: the word lists know no other language.
        is_slip: Tells whether a word can be a misspelling of a word of the source.
    """
    differences = [d for d in differences if not (english and _is_misspelt(d, is_slip))]
    ours = [token.text for difference in differences for token in difference.quote]
    theirs = [token.text for difference in differences for token in difference.source]
    detail = f'the quote has "{" ".join(ours)}" where the source has "{" ".join(theirs)}"'
    if _multiset(ours, _is_number) != _multiset(theirs, _is_number):
        return "altered_number", detail
    if _multiset(ours, _is_negation) != _multiset(theirs, _is_negation):
        return "altered_negation", detail
    altered = _altered_word(differences, english)
    return (altered, detail) if altered else None


def _altered_word(differences: Sequence[Difference], english: bool) -> Alteration | None:
    for difference in differences:
        if not (_is_spacing(difference) or (english and _is_light(difference))):
            changed = {token.text for token in (*difference.quote, *difference.source)}
            return "altered_number" if changed & _UNITS else "altered_word"
    return "altered_word" if _moved(differences) else None


def _is_misspelt(difference: Difference, is_slip: Callable[[str, Token], bool]) -> bool:
    ours, theirs = difference.quote, difference.source
    return len(ours) == len(theirs) and all(
        a.text == b.text or is_slip(a.text, b) for a, b in zip(ours, theirs, strict=True)
    )


def _is_spacing(difference: Difference) -> bool:
    tokens = (*difference.quote, *difference.source)
    same = _joined(difference.quote) == _joined(difference.source)
    return same and not any(_is_number(token.text) for token in tokens)


def _is_light(difference: Difference) -> bool:
    """Return whether nothing but light words was added, or dropped."""
    if (difference.quote and difference.source) or difference.beside_number:
        return False
    return {token.text for token in difference.quote} <= _ADDED and {
        token.text for token in difference.source
    } <= _DROPPED


def _moved(differences: Sequence[Difference]) -> bool:
    """Return whether a word was dropped in one place and added in another."""
    added = {token.text for d in differences if not d.source for token in d.quote}
    return any(token.text in added for d in differences if not d.quote for token in d.source)


def could_be_slip(word: str, source: str) -> bool:
    """Return whether `word` is `source` with one typing slip, and no word that is known.

    >>> could_be_slip("agreemnt", "agreement"), could_be_slip("employer", "employee")
    (True, False)
    """
    if word.endswith("'s") and source.endswith("'s"):
        word, source = word[:-2], source[:-2]
    if not _one_edit(word, source) or not word.replace("'", "").isalpha():
        return False
    if word.removesuffix("s") in _PROTECTED or word in _FUNCTION:
        return False
    if not _can_be_misspelt(source) or _is_ambiguous(word, source):
        return False
    return is_function(source) or not (is_known(word) or _is_inflection(word, source))


def is_function(word: str) -> bool:
    """Return whether a word has a place in the sentence that no noun or verb can take."""
    return word in _FUNCTION


def is_known(word: str) -> bool:
    """Return whether a word is an English one that the lists have."""
    return word in _KNOWN or is_word(word)


def _can_be_misspelt(word: str) -> bool:
    """Return whether one letter less or another one leaves the word recognizable."""
    if not word[0].isalpha() or _ROMAN.fullmatch(word):
        return False
    if _is_negation(word):
        return len(word) >= _MIN_NEGATION
    return len(word) >= (2 if word in _SHORT and not _is_number(word) else _MIN_LETTERS)


def _is_ambiguous(word: str, source: str) -> bool:
    """Return whether a misspelt word that carries meaning may be another one: "licenso"."""
    return source in _ALIKE and any(_one_edit(word, other) for other in _ALIKE - {source})


_TWIN_ENDINGS = ({"le", "ly"}, {"ed", "ee"})


def _is_inflection(word: str, source: str) -> bool:
    """Return whether `word` is another form of `source`: "terms" and "term", "renew" and "renewed".

    A last letter that is missing makes a word of few words: only plurals and past tenses.
    """
    if word[:-1] == source:
        return word[-1] in "sdrny" and not source.endswith("s")
    if word == source[:-1]:
        return source.endswith(("s", "ed")) and not source.endswith(("ss", "ies", "is", "ied"))
    verbs = word[-2:-1] == "e" and word[-1] in "sdrn" and source[-1] in "sdrn"
    return (verbs and word[:-1] == source[:-1]) or {word[-2:], source[-2:]} in _TWIN_ENDINGS


def _one_edit(a: str, b: str) -> bool:
    """Return whether one letter was added, left out, replaced, or swapped with the next.

    >>> [_one_edit("agreement", b) for b in ("agreemnt", "agreemetn", "agreements", "argument")]
    [True, True, True, False]
    """
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return max(len(a), len(b)) == 1 or (len(a) == len(b) == 2 and a == b[::-1])


def _one_or_all(a: Token, b: Token) -> int:
    if a.text == b.text:
        return 0
    return 1 if _one_edit(a.text, b.text) else max(len(a.text), len(b.text))


def _is_number(word: str) -> bool:
    return word in _NUMBERS or not word[0].isalpha()


def _is_negation(word: str) -> bool:
    return word in _NEGATIONS or word.endswith("n't")


def _multiset(words: Sequence[str], kind: Callable[[str], bool]) -> Counter[str]:
    return Counter(filter(kind, words))


def _joined(tokens: Sequence[Token]) -> str:
    return "".join(token.text for token in tokens)
