"""What an ellipsis must not leave out, because the rest would then say something else.

Everything here reads the skipped text in normal form. The word lists are English.
"""

from __future__ import annotations

import re

_IDIOMS = re.compile(
    r"\bwithout limit(?:ation|ing)\b|\bnot limited to\b|\bwhether or not\b|\bnot only\b"
    r"|\b(?:no(?:t|) (?:later|less|more|fewer|earlier|greater|sooner) than"
    r"|not (?:to exceed|exceeding))\b(?=\W*\w)"  # with the number that it limits
    r"|\bno\.(?=\W*\d)"
)
_ABBREVIATION = re.compile(
    r"\b(?:inc|ltd|co|corp|llc|plc|no|nos|mr|mrs|ms|dr|sec|art|etc|vs|e\.g|i\.e|u\.s|a\.m|p\.m)\."
)
_PARENTHESES = re.compile(r"\([^()]*\)")
_SENTENCE_END = re.compile(r"[.?!](?=\W|\Z)")
_DENIAL = re.compile(r"\b(?:not|no|never|nor|neither|none|nothing|nobody|cannot)\b|n't\b")
_EXCEPTION = re.compile(r"\b(?:without|unless|except|excluding|other than)\b")
_COORDINATION = re.compile(r"\b(?:or|nor|and|otherwise)\W*(?:\(\w+\)\W*)?\Z")
_CONTINUED = re.compile(r"\W*(?:(?:or|nor|and|otherwise)\b|\(\w{1,4}\))")
_BOUND = re.compile(
    r"(?:\b(?:than|at least|at most|up to|exceed(?:s|ing)?|over|under|above|below"
    r"|m(?:ax|in)imum of)[^\w.;:]*|[%$€£¥<>]\s*)\Z"
)
_NUMBER = re.compile(r"\W*(?:\d|(?:one|two|three|four|five|six|seven|eight|nine|ten)\b)")
_NEAR = 3
"""Words between a denial and the ellipsis that tie it to what is left of its sentence."""
_EXCEPTED = 4
"""Words behind an exception that say of it too little to stand alone."""
_ADVERBIAL = 6
"""Words of an insertion between commas."""


def dropped_negation(skipped: str, after: str = "") -> str | None:
    """Return the negation that must not be elided, because the rest would then say the opposite.

    That is one close to what is left ("may [not] terminate", "neither party shall [...]"), one in
    a list that goes on after the ellipsis ("shall not sell, lease or [...]"), and an adverbial
    between commas ("may, under no circumstances, [...]"). A negation that is skipped together with
    what it negates may be elided: in a bracket, in a sentence or clause of its own.

    Args:
        skipped: The skipped text in normal form.
        after: The quote's first words after the ellipsis, in normal form.

    >>> dropped_negation("not"), dropped_negation("a fee (not a fine) and the")
    ('not', None)
    """
    sentences = _sentences(_PARENTHESES.sub(" ", _IDIOMS.sub(" ", skipped)))
    head, tail = sentences[0], sentences[-1]
    first, last = head.split(";")[0], tail.split(";")[-1]
    listed = bool(_CONTINUED.match(after) or _COORDINATION.search(tail))
    return (
        _denial(first, before=_NEAR)
        or _denial(tail if listed else last, after=None if listed else _NEAR)
        or _adverbial(first)
        or _adverbial(last)
        or _late_exception(tail)
    )


def dropped_bound(skipped: str, after: str) -> str | None:
    """Return the bound or sign of the number after the ellipsis: "up to" or "$".

    >>> dropped_bound("a sum of up to ", "ten euro"), dropped_bound("a sum of", "ten euro")
    ('up to', None)
    """
    found = _BOUND.search(skipped) if _NUMBER.match(after) else None
    return found and found[0].strip()


def joins_sentences(skipped: str) -> bool:
    """Return whether an ellipsis makes one sentence of the parts of two.

    >>> joins_sentences("pay. The Seller shall"), joins_sentences(". The Seller shall")
    (True, False)
    """
    sentences = _sentences(skipped)
    return bool(len(sentences) > 1 and _has_word(sentences[0]) and _has_word(sentences[-1]))


def _sentences(text: str) -> list[str]:
    return _SENTENCE_END.split(_ABBREVIATION.sub(" ", text))


def _has_word(text: str) -> bool:
    return any(map(str.isalnum, text))


def _denial(text: str, *, before: int | None = None, after: int | None = None) -> str | None:
    """Return the first denial with fewer words before it, or after it, than given."""
    for found in _DENIAL.finditer(text):
        early = before is None or len(text[: found.start()].split()) < before
        late = after is None or len(text[found.end() :].split()) < after
        if early and late:
            return found[0]
    return None


def _adverbial(text: str) -> str | None:
    """Return the denial in a short insertion between commas."""
    for insertion in text.split(",")[1:-1]:
        found = _DENIAL.search(insertion)
        if found and len(insertion.split()) <= _ADVERBIAL:
            return found[0]
    return None


def _late_exception(text: str) -> str | None:
    """Return the "without" or "unless" whose own words go on after the ellipsis."""
    found = list(_EXCEPTION.finditer(text))[-1:]
    return next((f[0] for f in found if len(text[f.end() :].split()) < _EXCEPTED), None)
