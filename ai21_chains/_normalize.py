"""The normal form in which quotes are compared, and the way back to the original characters.

Two spellings of the same words (curly or straight quotation marks, a line break or a space, a
ligature or its letters, upper or lower case, a word hyphenated at a line end) have the same
normal form. Everything that carries meaning stays: digits, punctuation, diacritics, superscripts.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

_QUOTES = dict.fromkeys("‘’‚‛′´`ʼ‹›", "'") | dict.fromkeys("“”„‟″«»〝〞", '"')
# PDF extractors write U+0002 or U+FFFE for the hyphen at the end of a line.
_DASHES = dict.fromkeys("‐‑‒–—―−⁃﹘﹣－\x02\ufffe", "-")
_BREAKS = dict.fromkeys("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", "\n")
_FOLDS = _QUOTES | _DASHES | _BREAKS | {"\n": "\n", "⁄": "/", "∕": "/"}
# NFKC would turn 10² into 102 and 1½ into 11/2, which are other numbers.
_NOT_FOLDED = ("<super>", "<sub>", "<fraction>")
_LETTER = r"[^\W\d_]"


@lru_cache(maxsize=8192)
def fold_char(char: str) -> str:
    """Return the normal form of one character: empty, one character, or several."""
    if char in _FOLDS:
        return _FOLDS[char]
    if char.isspace():
        return " "
    if unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f":
        return ""
    if unicodedata.decomposition(char).startswith(_NOT_FOLDED):
        return char.casefold()
    folded = unicodedata.normalize("NFKC", char).casefold()
    return char if " " in folded else folded


def is_mark(char: str) -> bool:
    """Return whether the character belongs to the one before it (accent, vowel sign, jamo)."""
    return unicodedata.category(char)[0] == "M" or "\u1160" <= char <= "\u11ff"


@dataclass(frozen=True, slots=True)
class NormalText:
    """A text in normal form with the map back.

    Attributes:
        text: The normal form.
        breaks: Offsets in `text` where a piece begins. Pieces at even positions are as long as
            their original; those at odd positions stand for an original of another length.
        origins: Offset in the original of each piece.
    """

    text: str
    breaks: list[int]
    origins: list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original span of the non-empty normal span `[start, end)`."""
        return self._origin(start)[0], self._origin(end - 1)[1]

    def _origin(self, offset: int) -> tuple[int, int]:
        piece = bisect_right(self.breaks, offset) - 1
        origin = self.origins[piece]
        if piece % 2:
            return origin, self.origins[piece + 1]
        at = origin + offset - self.breaks[piece]
        return at, at + 1


def normalize(text: str) -> NormalText:
    """Return the normal form of `text` with the map back to its offsets."""
    folds = {char: fold_char(char) for char in set(text)}
    # Almost every character has a fold of one character: one pass of `translate` does those, and
    # only the places where lengths change are visited one by one.
    text = text.translate({ord(c): f for c, f in folds.items() if len(f) == 1 and f != c})
    odd = {char: fold for char, fold in folds.items() if len(fold) != 1}
    pieces: list[str] = []
    breaks, origins = [0], [0]
    length = position = 0
    for found in _edits(text, odd).finditer(text):
        start, end = found.span()
        new = _replacement(found[0], odd)
        pieces += (text[position:start], new)
        length += start - position
        breaks += (length, length + len(new))
        origins += (start, end)
        length += len(new)
        position = end
    pieces.append(text[position:])
    return NormalText("".join(pieces), breaks, origins)


def _edits(text: str, odd: dict[str, str]) -> re.Pattern[str]:
    """Return the pattern of all places of a translated text where the length changes."""
    dropped = re.escape("".join(sorted(c for c, fold in odd.items() if not fold)))
    patterns = [
        rf"[-\xad](?<={_LETTER}.)[ {dropped}]*\n[ \n{dropped}]*(?={_LETTER})",
        rf"[ \n{dropped}]{{2,}}|[\n{dropped}]",
    ]
    if not unicodedata.is_normalized("NFC", text):
        marks = re.escape("".join(sorted(filter(is_mark, set(text)))))
        patterns.append(rf"[^ \n]?[{marks}]+" if marks else "")
    if longer := "".join(sorted(c for c, fold in odd.items() if fold)):
        patterns.append(f"[{re.escape(longer)}]")
    return re.compile("|".join(filter(None, patterns)))


def _replacement(piece: str, odd: dict[str, str]) -> str:
    if len(piece) > 1 and piece[0] in "-\xad" and "\n" in piece:
        return ""
    if " " in piece or "\n" in piece:
        return " "
    return unicodedata.normalize("NFC", "".join(odd.get(char, char) for char in piece))
