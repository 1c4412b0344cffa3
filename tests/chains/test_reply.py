"""What becomes of a model's reply: whatever it is, it is read, checked and never a reason to fail."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains._reply import Reply
from ai21_chains.citations import PreparedDocuments

MANUAL = "Descaling takes 25 minutes. Do not interrupt it.\r\nUse the blue “DeCalc” tablets only."
HANDBOOK = "Annual leave is 30 days. Leave requests go to the team lead."
HEBREW = "הניקוי אורך עשרים וחמש דקות. أوقف الآلة أولاً. The ﬁrst ﬁlter 👩🏽‍🔬 is cafe\u0301-brown."
DOCUMENTS = [MANUAL, HANDBOOK, HEBREW]
TIME = {"id": 1, "doc": 0, "quote": "Descaling takes 25 minutes."}
LEAVE = {"id": 2, "doc": 1, "quote": "Annual leave is 30 days."}
SHOWN_MARK = re.compile(r"(?<!\b[A-Za-z_])\[([1-9][0-9]{0,2})\](?!\()")


def read(*pieces: str, require_citation: bool = True, **metadata: Any) -> GroundedAnswer:
    """Read a reply that comes in these pieces."""
    return GroundedAnswer.model_validate(total(pieces, require_citation, **metadata))


def total(pieces: Iterable[str], require_citation: bool = True, **metadata: Any) -> dict[str, Any]:
    reply = Reply(
        PreparedDocuments(DOCUMENTS), require_citation=require_citation, abstention="Not found."
    )
    result: Any = None
    for piece in pieces:
        for part in reply.read(piece):
            result = part if result is None else result + part
    for part in reply.close(AIMessage("", response_metadata=metadata)):
        result = part if result is None else result + part
    return dict(result)


def said(answer: Any = "", citations: Any = (), found: Any = True, **more: Any) -> str:
    """Return a reply with these members, in the order that the model is asked for."""
    members = {"found": found, "citations": citations, "answer": answer, **more}
    return json.dumps({name: value for name, value in members.items() if value != ()})


def check_invariants(answer: GroundedAnswer) -> None:
    ids = [citation.id for citation in answer.citations]
    shown = [int(number) for number in SHOWN_MARK.findall(answer.answer)]

    assert ids == list(range(1, len(ids) + 1))
    assert list(dict.fromkeys(shown)) == list(range(1, len(set(shown)) + 1))
    assert set(shown) <= set(ids)
    for citation in answer.citations:
        source = DOCUMENTS[citation.document_index]
        assert source[citation.start : citation.end] == citation.quote
        if citation.answer_start is not None:
            assert citation.answer_end is not None
            assert 0 <= citation.answer_start < citation.answer_end <= len(answer.answer)
            sentence = answer.answer[citation.answer_start : citation.answer_end]
            assert f"[{citation.id}]" in sentence
    for span in answer.unsupported_sentences:
        assert answer.answer[span.start : span.end] == span.text
    answer.model_dump_json()
    answer.to_message()
    answer.to_markdown()


# --- Any reply -----------------------------------------------------------------------------------

scraps = st.sampled_from(
    ["[1]", "[2]", "[1, 2]", "[1-3]", "[9]", "[", "]", "[[", "[0]", "a[0]", "(http://x)", " ", "\n"]
    + ["25 minutes.", "No.", "\\", '"', '",', '"}', "{", "}", "\\u", "\\ud83d", "\\ude00", "\\n"]
    + [": ", '"answer": "', '"found": false', '"citations": [', "é", "🔥", "\ud83d", "\ude00", "1"]
)
texts = st.lists(scraps | st.text(max_size=6), max_size=12).map("".join)
quotes = st.sampled_from([TIME["quote"], LEAVE["quote"], HEBREW[:28], "“DeCalc” tablets", "no such"])
numbers = st.sampled_from([0, 1, 2, 3, 7, "1", "[2]", None, True, 1.0, -1, 10**30, [1]])
entries = st.fixed_dictionaries({}, optional={"id": numbers, "doc": numbers, "quote": quotes | texts})
citation_lists = st.lists(entries | quotes | st.none(), max_size=4)
values = texts | citation_lists | st.booleans() | st.none() | st.integers() | st.just({"a": ["b"]})
members = st.fixed_dictionaries(
    {},
    optional={
        "found": st.booleans() | values,
        "citations": citation_lists | values,
        "answer": texts | values,
        "note": values,
    },
)


@st.composite
def replies(draw: st.DrawFn) -> str:
    """Make a reply: an object in any order, whole or cut or damaged, with anything around it."""
    items = draw(st.permutations(list(draw(members).items())))
    text = json.dumps(dict(items), ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace("\\n", "\n").replace('\\"', '"')
    text = text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text
    at = draw(st.integers(0, len(text)))
    text = text[:at] + draw(st.just("") | texts) + text[at:]
    return draw(st.just("") | texts | st.just("```json\n")) + text + draw(st.just("") | texts)


@st.composite
def split_replies(draw: st.DrawFn) -> list[str]:
    """Make a reply split at any points."""
    text = draw(replies())
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    if draw(st.booleans()):
        cuts = list(range(len(text) + 1))
    return [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


@given(split_replies(), st.sampled_from(["stop", "length"]))
@settings(max_examples=500, deadline=None)
def test_any_reply_gives_the_same_valid_result_in_one_piece_and_in_many(
    pieces: list[str], reason: str
) -> None:
    whole = total(["".join(pieces)], finish_reason=reason)

    assert total(pieces, finish_reason=reason) == whole
    check_invariants(GroundedAnswer.model_validate(whole))
