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

Alteration = Literal["altered_number", "altered_negation", "altered_word"]

_TOKEN = re.compile(
    r"[^\W\d_]+(?:'[^\W\d_]+)*"  # words, with apostrophes inside
    r"|\d+(?:[.,:/]\d+)*"  # numbers, amounts, dates, times
    r"|[%$&]|[+=<>](?=\s?\d)|(?<![\w.])-(?=\d)"  # signs that carry meaning
    r"|\*{3,}|(?<=\[)\*+(?=\])"  # what was blacked out
    # Whatever else is no punctuation: vowel signs, symbols, pictures.
    r"|[^\w\s\x00-\xa0\xab\xb7\xbb\u2010-\u205e\u25a0-\u25ff\u3000-\u303f]"
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
    company party parties affiliate affiliates distributor manufacturer investor issuer
    recipient"""
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
_KNOWN = _NUMBERS | _UNITS | _NEGATIONS | _MEANINGFUL | _COMMON
# Words that the quote may have added, and that it may have dropped; never "and", "or" and "any".
_ADDED = _words("the a an of that")
_DROPPED = _ADDED | _words("to in on at for by as with")
_SHORT = _COMMON | _DROPPED | {"and", "any", "or", "all"}
_ENGLISH = re.compile(
    r"\b(?:the|of|and|to|or|shall|by|for|with|this|that|any|be|which|such|from|is|are|as|will|have|"
    r"has|its|it|their|each|between|been|not|if|you|your|we|our)\b"
)
_MIN_ENGLISH = 0.12
"""Share of these words above which a passage looks English; most English text has over 0.3."""
_MAX_FOREIGN = 0.05
_MIN_LETTERS = 4
MAX_ABBREVIATION = 6
"""Letters of a word in capitals that may be an abbreviation."""
_MAX_GAP = 4
"""Words in a row that may differ before two passages are held to be different ones."""


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
    return [Token("and" if m[0] == "&" else m[0], *m.span()) for m in found]


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
    for total in range(1, 2 * _MAX_GAP + 1):
        for skip in sorted(range(total + 1), key=lambda count: abs(total - 2 * count)):
            other = total - skip
            if max(skip, other) > _MAX_GAP or skip >= rest or there + other > len(source):
                continue
            agreed = quote[at + skip : at + skip + 2]
            found = source[there + other : there + other + len(agreed)]
            if [token.text for token in agreed] == [token.text for token in found]:
                return skip, other
    if rest > _MAX_GAP:
        return None
    # Nothing of the quote is left to agree on: the same letters spaced otherwise, else as many
    # words. Either text may be reversed here.
    ours = quote[at:]
    for other in range(min(rest + 2, len(source) - there) + 1):
        theirs = source[there : there + other]
        if _joined(ours) == _joined(theirs) or _joined(ours[::-1]) == _joined(theirs[::-1]):
            return rest, other
    return rest, min(rest, len(source) - there)


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
    ours = [token.text for difference in differences for token in difference.quote]
    theirs = [token.text for difference in differences for token in difference.source]
    detail = f'the quote has "{" ".join(ours)}" where the source has "{" ".join(theirs)}"'
    if _multiset(ours, _is_number) != _multiset(theirs, _is_number):
        return "altered_number", detail
    if _multiset(ours, _is_negation) != _multiset(theirs, _is_negation):
        return "altered_negation", detail
    for difference in differences:
        if not _harmless(difference, english, is_slip):
            changed = {token.text for token in (*difference.quote, *difference.source)}
            return "altered_number" if changed & _UNITS else "altered_word", detail
    return None


def _harmless(difference: Difference, english: bool, is_slip: Callable[[str, Token], bool]) -> bool:
    ours, theirs = difference.quote, difference.source
    if _joined(ours) == _joined(theirs):
        return not any(_is_number(token.text) for token in (*ours, *theirs))
    if not english:
        return False
    if not (ours and theirs):
        allowed = _ADDED if ours else _DROPPED
        words = {token.text for token in (*ours, *theirs)}
        return words <= allowed and not difference.beside_number
    return len(ours) == len(theirs) and all(
        a.text == b.text or is_slip(a.text, b) for a, b in zip(ours, theirs, strict=True)
    )


def could_be_slip(word: str, source: str) -> bool:
    """Return whether `word` is `source` with one typing slip, and no word that is known.

    >>> could_be_slip("agreemnt", "agreement"), could_be_slip("employer", "employee")
    (True, False)
    """
    if word.endswith("'s") and source.endswith("'s"):
        word, source = word[:-2], source[:-2]
    if word in _KNOWN or _is_number(source) or _is_negation(source):
        return False
    if not word.replace("'", "").isalpha():
        return False
    if len(source) < _MIN_LETTERS and source not in _SHORT:
        return False
    return _one_edit(word, source) and not _is_inflection(word, source)


def _is_inflection(word: str, source: str) -> bool:
    """Return whether `word` is another form of `source`: "terms" and "term", "renew" and "renewed".

    A last letter that is missing makes a word of few words: only plurals and past tenses.
    """
    if word[:-1] in (source, source[:-1]) and word[-1] != source[-1]:
        return word[-1] in "sdrny" and (word[:-1] == source or source[-1] in "sdrny")
    return word == source[:-1] and source[-1] in "sd" and not source.endswith("ss")


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


_IDIOMS = re.compile(
    r"\bwithout limit(?:ation|ing)\b|\bnot limited to\b|\bwhether or not\b|\bnot only\b"
    r"|\bno(?:t|) (?:later|less|more|fewer|earlier|greater|sooner) than\b|\bnot exceed(?:ing)?\b"
    r"|\bno\.(?=\W*\d)"
)
_PARENTHESES = re.compile(r"\([^()]*\)")
_SENTENCE_END = re.compile(r"[.;:?!](?=\s|\Z)")
_DENIAL = re.compile(r"\b(?:not|no|never|nor|neither|none|nothing|nobody|cannot)\b|n't\b")
_EXCEPTION = re.compile(r"\b(?:without|unless|except|excluding|other than)\b")
_COORDINATION = re.compile(r"\b(?:or|nor|and|otherwise)\W*\Z")
_NEAR = 4
_ADVERBIAL = 6


def dropped_negation(skipped: str) -> str | None:
    """Return the negation that must not be elided, because the rest would then say the opposite.

    That is one close to what is left ("may [not] terminate", "neither party shall [...]"), one in
    a list that goes on after the ellipsis ("shall not sell, lease or [...]"), and an adverbial
    between commas ("may, under no circumstances, [...]"). A negation that is skipped together with
    what it negates may be elided: in a bracket, in a sentence or clause of its own.

    Args:
        skipped: The skipped text in normal form.

    >>> dropped_negation("not"), dropped_negation("a fee (not a fine) and the")
    ('not', None)
    """
    bare = _PARENTHESES.sub(" ", _IDIOMS.sub(" ", skipped))
    head, tail = _SENTENCE_END.split(bare)[0], _SENTENCE_END.split(bare)[-1]
    for part in {head: None, tail: None}:
        for found in _DENIAL.finditer(part):
            before, after = len(part[: found.start()].split()), len(part[found.end() :].split())
            if (part is head and before < _NEAR) or (
                part is tail and (after < _NEAR or _COORDINATION.search(tail))
            ):
                return found[0]
        for clause in part.split(",")[1:-1]:
            denial = _DENIAL.search(clause)
            if denial and len(clause.split()) <= _ADVERBIAL:
                return denial[0]
    exception = _EXCEPTION.search(tail)
    if exception and len(tail[exception.end() :].split()) < _NEAR - 1:
        return exception[0]
    return None
