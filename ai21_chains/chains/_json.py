"""Reads JSON as models write it: amid prose, cut off, with raw line breaks or bare quotes.

What is read of a reply's beginning stays true when more of it comes, so that a reply gives the same
result in one piece and streamed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

_MAX_DEPTH = 20

_KEY = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*:\s*', re.S)
_PART_OF_KEY = re.compile(r'\s*(?:"(?:[^"\\]|\\.)*\\?(?:"\s*)?)?', re.S)
_OPENING = re.compile(r'\{\s*(?:"|\Z)')
_PREFACE = re.compile(r"\s*(?:`+\s*\w*\s*)?")
_COMMA = re.compile(r"\s*,?\s*")
_SCALAR = re.compile(r"[\w.+-]+")
_PYTHON = {"True": True, "False": False, "None": None}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", **{c: c for c in "\"\\/'"}}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|u[0-9a-fA-F]{0,3}\Z|(.)|\Z)", re.S)
_SURROGATE = re.compile("[\ud800-\udfff]")

_QUOTE = re.compile(r'\\.|"', re.S)
# A quotation mark ends a string if what follows can follow a string there; models forget to escape
# those inside. While that is not decided, the string is not at its end.
_ENDS = {
    "{": re.compile(r'\s*(?:,?\s*\}|,\s*"(?:[^"\\]|\\.)*"\s*:)', re.S),
    "[": re.compile(r'\s*(?:,?\s*\]|,\s*(?:["{\[]|-?\d|(?:true|false|null)\s*[,\]]))'),
}
_MAY_END = {
    "{": re.compile(r'\s*(?:,\s*(?:"(?:[^"\\]|\\.)*\\?(?:"\s*)?)?)?', re.S),
    "[": re.compile(r"\s*(?:,\s*(?:-|[a-z]{0,5}\s*))?"),
}


class Read(NamedTuple):
    """An object as far as it has come.

    Attributes:
        members: Its members in their order. Of several with the same name the first counts.
        closed: Whether it is at its end; if not, the last member may be unfinished.
    """

    members: dict[str, Any]
    closed: bool


def read_object(text: str, names: Collection[str], *, last: bool = False) -> Read | None:
    """Return the first object in a text that has a member with one of the names.

    Args:
        text: The text so far.
        names: The members that are looked for.
        last: Whether no more is to come.
    """
    known = re.compile(rf'(?<!\\)"(?:{"|".join(map(re.escape, names))})"\s*:')
    text += " " if last else ""
    for opening in _OPENING.finditer(text):
        try:
            members, end = _object(text, opening.start() + 1, 0, known)
        except ValueError:
            continue
        if any(name in members for name in names):
            return Read(members, end is not None)
        if end is None and not last:
            return None
        if end is None and _PREFACE.fullmatch(text, 0, opening.start()):
            return Read({}, closed=False)
    return None


def repaired(text: str, *, whole: bool = True) -> str:
    """Join the halves of surrogate pairs; a half by itself is no character.

    Args:
        text: The text.
        whole: Whether no more is to come; if not, a first half at the end is left out.
    """
    if not _SURROGATE.search(text):
        return text
    if not whole and "\ud800" <= text[-1] <= "\udbff":
        text = text[:-1]
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# Each of these functions returns a value, as far as it has come, and where it ends: None while that
# has not come. A `ValueError` means that no continuation makes it JSON.
_Value = tuple[Any, int | None]
_NOTHING: Any = object()


def _value(text: str, at: int, depth: int, inside: str) -> _Value:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    first = text[at : at + 1]
    if first == '"':
        return _string(text, at + 1, inside)
    if first == "{":
        return _object(text, at + 1, depth)
    return _list(text, at + 1, depth) if first == "[" else _scalar(text, at)


def _object(text: str, at: int, depth: int, known: re.Pattern[str] | None = None) -> _Value:
    members: dict[str, Any] = {}
    while True:
        try:
            key = _KEY.match(text, at)
            if key is None:
                return members, _end(text, at)
            at = key.end()
            value, end = _value(text, at, depth + 1, "{")
        except ValueError:
            if known is None or not any(known.match(f'"{name}":') for name in members):
                raise
            # One member is broken; the next that is known may be whole.
            resume = known.search(text, at)
            if resume is None:
                return members, None
            at = resume.start()
            continue
        if value is not _NOTHING:
            members.setdefault(_decoded(key[1], whole=True), value)
        if end is None:
            return members, None
        at = _after_comma(text, end)


def _end(text: str, at: int) -> int | None:
    """Return where an object ends that has no further member."""
    closing = re.compile(r"\s*\}").match(text, at)
    if closing is None and not _PART_OF_KEY.fullmatch(text, at):
        raise ValueError("neither a member nor the end")
    return closing.end() if closing else None


def _list(text: str, at: int, depth: int) -> _Value:
    items: list[Any] = []
    at = _after_comma(text, at)
    while at < len(text):
        if text[at] == "]":
            return items, at + 1
        value, end = _value(text, at, depth + 1, "[")
        if value is not _NOTHING:
            items.append(value)
        if end is None:
            return items, None
        at = _after_comma(text, end)
    return items, None


def _after_comma(text: str, at: int) -> int:
    comma = _COMMA.match(text, at)
    return comma.end() if comma else at


def _string(text: str, at: int, inside: str) -> _Value:
    for quote in _QUOTE.finditer(text, at):
        if quote[0] == '"':
            if _ENDS[inside].match(text, quote.end()):
                return _decoded(text[at : quote.start()], whole=True), quote.end()
            if _MAY_END[inside].fullmatch(text, quote.end()):
                return _decoded(text[at : quote.start()], whole=False), None
    return _decoded(text[at:], whole=False), None


def _decoded(text: str, *, whole: bool) -> str:
    return repaired(_ESCAPE.sub(_unescaped, text), whole=whole)


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return _ESCAPES.get(escape[2], escape[0]) if escape[2] else ""


def _scalar(text: str, at: int) -> _Value:
    scalar = _SCALAR.match(text, at)
    if scalar is None and at < len(text):
        raise ValueError("no value")
    if scalar is None or scalar.end() == len(text):
        return _NOTHING, None
    try:
        return _PYTHON[scalar[0]] if scalar[0] in _PYTHON else json.loads(scalar[0]), scalar.end()
    except ValueError:
        return scalar[0], scalar.end()  # a bare word
