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

_QUOTES = dict.fromkeys("‘’‚‛′´`ʼ‹›", "'") | dict.fromkeys("“”„‟″«»〝〞「」『』", '"')
# PDF extractors write U+0002 or U+FFFE for the hyphen at the end of a line.
_DASHES = dict.fromkeys("‐‑‒–—―−⁃﹘﹣－\x02\ufffe", "-")
_BREAKS = dict.fromkeys("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", "\n")
_OTHERS = {"\n": "\n", "⁄": "/", "∕": "/", "。": ".", "İ": "i"}
_FOLDS = _QUOTES | _DASHES | _BREAKS | _OTHERS
# NFKC would turn 10² into 102, 1½ into 11/2 and 5① into 51, which are other numbers.
_NOT_FOLDED = ("<super>", "<sub>")
_DIGIT_FONTS = ("<wide>", "<font>")
_LETTER = r"[^\W\d_]"
# What Unicode lists as Default_Ignorable_Code_Point: it has no look of its own.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ufff9-\ufffb"  # brackets of annotations
    "\u0640]"  # the line that stretches an Arabic word
)
_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # vowels and accents of Hebrew
    "\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"  # Arabic
)
# Characters up to which replacing them one after the other is faster than `translate`.
_FEW = 100


@lru_cache(maxsize=8192)
def fold_char(char: str) -> str:
    """Return the normal form of one character: empty, one character, or several."""
    if char in _FOLDS:
        return _FOLDS[char]
    if char.isspace():
        return " "
    if _IGNORABLE.match(char) or _POINTS.match(char):
        return ""
    form = unicodedata.decomposition(char)
    folded = _POINTS.sub("", unicodedata.normalize("NFKC", char).casefold())
    other_number = any(map(str.isdigit, folded)) and not form.startswith(_DIGIT_FONTS)
    if " " in folded or other_number or form.startswith(_NOT_FOLDED):
        return char.casefold()
    return folded


def points(text: str) -> str:
    """Return the vowel points and accents of Hebrew and Arabic, which most texts leave out."""
    return "".join(_POINTS.findall(unicodedata.normalize("NFKD", text)))


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
    # Almost every character has a fold of one character: those are exchanged all at once, and only
    # the places where lengths change are visited one by one.
    text = _exchange(text, {c: f for c, f in folds.items() if len(f) == 1 and f != c})
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


def _exchange(text: str, folds: dict[str, str]) -> str:
    if len(folds) <= _FEW:
        # Often no other than ASCII is left then, of which `translate` makes short work.
        for char in [char for char in folds if not char.isascii()]:
            text = text.replace(char, folds.pop(char))
    if len(folds) > _FEW or text.isascii():
        return text.translate({ord(char): fold for char, fold in folds.items()})
    for char, fold in folds.items():
        text = text.replace(char, fold)
    return text


def _edits(text: str, odd: dict[str, str]) -> re.Pattern[str]:
    """Return the pattern of all places of a translated text where the length changes."""
    dropped = re.escape("".join(sorted(c for c, fold in odd.items() if not fold)))
    patterns = [
        rf"[-\xad](?<={_LETTER}.)[ {dropped}]*\n[ \n{dropped}]*(?={_LETTER})",
        rf"[ \n{dropped}]{{2,}}|[\n{dropped}]",
    ]
    # A mark belongs to the letter before it, also where the normal form drops it.
    marks = re.escape("".join(sorted(filter(is_mark, set(text)))))
    if marks and (any(map(is_mark, odd)) or not unicodedata.is_normalized("NFC", text)):
        patterns.append(rf"[^ \n]?[{marks}]+")
    if longer := "".join(sorted(c for c, fold in odd.items() if fold)):
        patterns.append(f"[{re.escape(longer)}]")
    return re.compile("|".join(filter(None, patterns)))


def _replacement(piece: str, odd: dict[str, str]) -> str:
    if len(piece) > 1 and piece[0] in "-\xad" and "\n" in piece:
        return ""
    if " " in piece or "\n" in piece:
        return " "
    return unicodedata.normalize("NFC", "".join(odd.get(char, char) for char in piece))
