"""JSON schemas filled in from a text: tool arguments and JSON answers without a language model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
Evidence = Callable[[str], str | None]
"""A function from what is wanted (a field's name and description) to words of a document."""

_DEEPEST = 8
_MOST_ITEMS = 16
_DETOURS = ("$ref", "anyOf", "oneOf", "allOf")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")
_QUOTED = re.compile(
    r"(?<!\w)(?:'([^'\n]+)'|\"([^\"\n]+)\"|“([^”\n]+)”|‘([^’\n]+)’|`([^`\n]+)`)(?!\w)"
)
_PATTERNS = {
    "email": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w"),
    "uri": re.compile(r"https?://[^\s'\"<>)]+"),
    "url": re.compile(r"https?://[^\s'\"<>)]+"),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "time": re.compile(r"\d{1,2}:\d{2}(?::\d{2})?"),
}
# For the words in a field's name: what stands before such a thing in a sentence.
_PREPOSITIONS = {
    frozenset({"location", "city", "place", "country", "town", "region", "where"}): (
        "in",
        "at",
        "near",
        "for",
        "of",
    ),
    frozenset({"origin", "source", "departure", "from", "start"}): ("from",),
    frozenset({"destination", "recipient", "target", "arrival", "to"}): ("to",),
    frozenset({"topic", "subject", "theme", "about"}): ("about", "on"),
    frozenset({"name", "title", "called"}): ("named", "called", "titled"),
    frozenset({"date", "day", "time", "when"}): ("on", "at"),
}
_ANY_PREPOSITION = ("about", "for", "in", "of", "on", "as")
_PHRASE_END = (
    r"(?=\s+(?:and|or|with|by|using|on|at|for|from|to|in|tomorrow|today|tonight|please|now)\b"
    r"|,(?!\s*(?-i:[A-Z]))|[.?!;:](?:\s|$)|\n|$)"
)
_NEGATION = r"\b(?:no|not|without|except|omit|skip|leave out|don't|do not)\s+(?:\w+\s+){0,2}"


def fill(schema: Schema, text: str, evidence: Evidence | None = None) -> Any:
    """Make a value that satisfies a JSON schema, as far as the text allows with its own words.

    Args:
        schema: A JSON schema; `$ref`, `$defs`, `anyOf`, enumerations and nesting are understood.
        text: Where numbers, quoted words, names and phrases are taken from.
        evidence: Finds words in documents for the strings of the schema.

    Returns:
        A value of JSON's types.
    """
    return _Filler(schema, text, evidence).value(schema, "", 0)


def quoted(text: str) -> list[str]:
    """Return the pieces of a text that stand in quotation marks, in order.

    Args:
        text: Any text.
    """
    return [next(filter(None, match.groups())) for match in _QUOTED.finditer(text)]


def topic(text: str) -> str:
    """Return what a text is about: the phrase after a preposition, or the text itself.

    Args:
        text: Any text.
    """
    return _phrase(text, _ANY_PREPOSITION) or " ".join(text.split())


def name_words(name: str) -> list[str]:
    """Split a name such as `get_weather` or `getWeather` into words in lower case.

    Args:
        name: The name of a tool or a field.
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[\W_]+", spaced.lower()) if word]


class _Filler:
    """Fills one form; what was used for one field is not used again for the next."""

    def __init__(self, root: Schema, text: str, evidence: Evidence | None) -> None:
        self._root = root
        self._text = text
        self._evidence = evidence
        self._quoted = quoted(text)
        in_brackets = re.findall(rf"\(\s*({_NUMBER.pattern})\s*\)", text)
        self._numbers: list[str] = in_brackets or _NUMBER.findall(text)

    def value(self, schema: Schema, name: str, depth: int, lone: bool = True) -> Any:
        schema = self._resolved(schema)
        if depth > _DEEPEST:
            return None
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._member(schema, name)
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("integer", "number"):
            return self._number(schema, name, whole=kind == "integer")
        if kind == "boolean":
            return self._boolean(schema, name)
        return None if kind == "null" else self._string(schema, name, lone)

    def _resolved(self, schema: Schema) -> Schema:
        """Follow references and take the first alternative that is not null."""
        for _ in range(_DEEPEST):
            key = next((key for key in _DETOURS if schema.get(key)), None)
            if key is None:
                break
            target = self._target(schema[key]) if key == "$ref" else _not_null(schema[key])
            schema = {**{name: schema[name] for name in schema if name != key}, **target}
        return schema

    def _target(self, reference: str) -> Schema:
        target: Any = self._root
        for part in reference.lstrip("#/").split("/"):
            target = target.get(part) if isinstance(target, Mapping) else None
        return target if isinstance(target, Mapping) else {}

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        fields: Mapping[str, Schema] = schema.get("properties") or {}
        required = schema.get("required") or ()
        wanted = {
            name: field
            for name, field in fields.items()
            if name in required or self._mentioned(name, field)
        }
        strings = [
            name for name, field in wanted.items() if _kind(self._resolved(field)) == "string"
        ]
        lone = len(strings) <= 1
        return {name: self.value(field, name, depth + 1, lone) for name, field in wanted.items()}

    def _mentioned(self, name: str, schema: Schema) -> bool:
        label = r"[\s_-]*".join(map(re.escape, name_words(name)))
        if re.search(_NEGATION + label, self._text, re.I):
            return False
        if re.search(rf"\b{label}s?\b", self._text, re.I):
            return True
        return any(self._says(member) for member in self._resolved(schema).get("enum") or ())

    def _says(self, member: Any) -> bool:
        return isinstance(member, str) and bool(
            re.search(rf"\b{re.escape(member).replace('_', '[ _]')}\b", self._text, re.I)
        )

    def _member(self, schema: Schema, name: str) -> Any:
        members: Sequence[Any] = schema["enum"]
        said = next((member for member in members if self._says(member)), None)
        return said if said is not None else schema.get("default", members[0])

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        item = self._resolved(schema.get("items") or {})
        values = self._several(item) or [self.value(item, name, depth + 1)]
        missing = schema.get("minItems", 0) - len(values)
        return [*values, *values[-1:] * missing][: schema.get("maxItems", _MOST_ITEMS)]

    def _several(self, item: Schema) -> list[Any]:
        """Return everything in the text that could be an item of this kind."""
        kind = _kind(item)
        if "enum" in item:
            return [member for member in item["enum"] if self._says(member)]
        if kind in ("integer", "number"):
            convert = int if kind == "integer" else float
            return [convert(float(number.replace(",", ""))) for number in self._numbers]
        if kind == "string" and not self._evidence:
            return self._quoted or _listed(self._text)
        return []

    def _number(self, schema: Schema, name: str, *, whole: bool) -> int | float:
        label = r"[\s_-]*".join(map(re.escape, name_words(name))) or "$^"
        close = re.search(
            rf"\b{label}\b\W{{0,3}}(?:is|of|to)?\s*({_NUMBER.pattern})|({_NUMBER.pattern})\s+{label}",
            self._text,
            re.I,
        )
        candidates = [close[1] or close[2]] if close else []
        for text in (*candidates, *self._numbers):
            number = float(text.replace(",", ""))
            if _within(schema, number) and (number.is_integer() or not whole):
                if text in self._numbers:
                    self._numbers.remove(text)
                return int(number) if whole else number
        return _least(schema, whole=whole)

    def _boolean(self, schema: Schema, name: str) -> bool:
        label = r"[\s_-]*".join(map(re.escape, name_words(name)))
        if re.search(
            _NEGATION + label + rf"|{label}\W+(?:is\s+)?(?:false|no|off)\b", self._text, re.I
        ):
            return False
        return bool(schema.get("default", True)) if not re.search(label, self._text, re.I) else True

    def _string(self, schema: Schema, name: str, lone: bool) -> str:
        parts = name_words(name)
        text = next(self._candidates(schema, parts, lone), None)
        if text is None:
            text = str(schema["default"]) if schema.get("default") else topic(self._text)
            text = (
                text if lone or "default" in schema else f"{' '.join(parts).capitalize()}: {text}"
            )
        longest = schema.get("maxLength")
        return text[:longest] if longest else text

    def _candidates(self, schema: Schema, parts: list[str], lone: bool) -> Iterator[str]:
        """Yield what the field could be, the likeliest first."""
        label = r"[\s_-]*".join(map(re.escape, parts)) or "$^"
        if given := re.search(rf"\b{label}\s*[:=]\s*(.+?)(?=[,;\n]|\.?$)", self._text, re.I):
            yield given[1].strip("'\"")
        for kind in (schema.get("format"), *parts):
            yield from _PATTERNS[kind].findall(self._text)[:1] if kind in _PATTERNS else ()
        if self._evidence:
            wanted = f"{' '.join(parts)} {schema.get('description', '')}"
            yield from filter(None, [self._evidence(wanted)])
        for kinds, prepositions in _PREPOSITIONS.items():
            if kinds & set(parts):
                yield from filter(None, [self._unquoted(_phrase(self._text, prepositions))])
        if self._quoted:
            yield self._quoted.pop(0)
        if lone:
            yield from filter(None, [_phrase(self._text, _ANY_PREPOSITION)])

    def _unquoted(self, phrase: str | None) -> str | None:
        """Take a phrase out of the quotations still to be used, if it is one."""
        if phrase in self._quoted:
            self._quoted.remove(phrase)
        return phrase


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _not_null(alternatives: Sequence[Schema]) -> Schema:
    return next((one for one in alternatives if one.get("type") != "null"), {})


def _phrase(text: str, prepositions: Sequence[str]) -> str | None:
    """Return what follows the first of these prepositions that the text has."""
    for preposition in prepositions:
        found = re.search(
            rf"\b{preposition}\s+(?:(?:the|a|an)\s+)?(\S.*?){_PHRASE_END}", text, re.I
        )
        if found:
            phrase = found[1].strip()
            in_quotes = _QUOTED.match(phrase)
            return next(filter(None, in_quotes.groups())) if in_quotes else phrase
    return None


def _listed(text: str) -> list[str]:
    phrase = re.search(r"(?:of|for|about|with|:)\s+(.+?,.+?|.+? and .+?)[.?!]?$", text.strip())
    if not phrase:
        return []
    return [
        item.strip() for item in re.split(r",\s*(?:and\s+)?|\s+and\s+", phrase[1]) if item.strip()
    ]


def _within(schema: Schema, number: float) -> bool:
    return bool(
        schema.get("minimum", number) <= number <= schema.get("maximum", number)
        and schema.get("exclusiveMinimum", number - 1) < number
        and number < schema.get("exclusiveMaximum", number + 1)
    )


def _least(schema: Schema, *, whole: bool) -> int | float:
    """Return the default, or else the number nearest to 1 that the schema allows."""
    number = schema.get("default")
    if not isinstance(number, int | float):
        step = 1 if whole else 0.5
        number = 1
        if "minimum" in schema or "exclusiveMinimum" in schema:
            floor = max(schema.get("minimum", -1e18), schema.get("exclusiveMinimum", -1e18) + step)
            number = max(number, floor)
        if "maximum" in schema or "exclusiveMaximum" in schema:
            number = min(
                number, schema.get("maximum", 1e18), schema.get("exclusiveMaximum", 1e18) - step
            )
    return int(number) if whole else float(number)
