"""What becomes of a model's reply: whatever it is, it is read and never a reason to fail."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise, permutations
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains._reply import Reply
from ai21_chains.citations import PreparedDocuments
from tests.cases import each

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
    [
        *("[1]", "[2]", "[1, 2]", "[1-3]", "[9]", "[", "]", "[[", "[0]", "a[0]", "(http://x)"),
        *("25 minutes.", "No.", "\\", '"', '",', '"}', "{", "}", "\\u", "\\ud83d", "\\ude00"),
        *(": ", '"answer": "', '"found": false', '"citations": [', "é", "🔥", "\ud83d", "\ude00"),
        *("\\n", "1", " ", "\n"),
    ]
)
texts = st.lists(scraps | st.text(max_size=6), max_size=12).map("".join)
quotes = st.sampled_from(
    [TIME["quote"], LEAVE["quote"], HEBREW[:28], "“DeCalc” tablets", "no such"]
)
numbers = st.sampled_from([0, 1, 2, 3, 7, "1", "[2]", None, True, 1.0, -1, 10**30, [1]])
entries = st.fixed_dictionaries(
    {}, optional={"id": numbers, "doc": numbers, "quote": quotes | texts}
)
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
@settings(max_examples=60, deadline=None)
def test_any_reply_gives_the_same_valid_result_in_one_piece_and_in_many(
    pieces: list[str], reason: str
) -> None:
    whole = total(["".join(pieces)], finish_reason=reason)

    assert total(pieces, finish_reason=reason) == whole
    check_invariants(GroundedAnswer.model_validate(whole))


@each("order", [*permutations(["found", "citations", "answer"])])
def test_the_order_of_the_keys_changes_nothing(order: tuple[str, ...]) -> None:
    members = {"found": True, "citations": [TIME, LEAVE], "answer": "Leave [2]. Descaling [1]."}
    text = json.dumps({name: members[name] for name in order})

    answer = read(*text)

    assert answer == read(text)
    assert (answer.status, answer.answer) == ("answered", "Leave [1]. Descaling [2].")
    assert [citation.quote for citation in answer.citations] == [LEAVE["quote"], TIME["quote"]]


def test_a_reply_cut_off_anywhere_is_truncated_and_shows_no_json() -> None:
    text = "```json\n" + said("It takes 25 minutes [1].", [TIME]) + "\n```"
    for cut in range(8, text.index(" [1]") + 3):
        answer = read(text[:cut], finish_reason="length")

        assert answer.status == "truncated"
        assert "It takes 25 minutes".startswith(answer.answer)


@each(
    "metadata",
    [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}, {"finish_reason": "MAX_TOKENS"}],
)
def test_each_providers_word_for_cut_off_is_known(metadata: dict[str, str]) -> None:
    assert read(said("It takes"), **metadata).status == "truncated"


def test_evidence_first_streams_the_answer_with_its_marks() -> None:
    reply = Reply(PreparedDocuments(DOCUMENTS), require_citation=True, abstention="")
    text = said("It takes 25 minutes [1]. No more [7].", [TIME])
    pieces = [part["answer"] for letter in text for part in reply.read(letter)]

    assert "".join(pieces) == "It takes 25 minutes [1]. No more."
    assert len(pieces) > 10


def test_answer_first_streams_up_to_the_first_mark_until_the_quotes_are_checked() -> None:
    reply = Reply(PreparedDocuments(DOCUMENTS), require_citation=True, abstention="")
    start = '{"found": true, "answer": "It takes 25 minutes [1]. Then rinse.", "citations": ['

    assert "".join(p["answer"] for p in reply.read(start)) == "It takes 25 minutes"
    rest = list(reply.read(json.dumps(TIME) + "]}"))
    assert "".join(p["answer"] for p in rest) == " [1]. Then rinse."


# --- What a reply comes to -----------------------------------------------------------------------

ODD_REPLIES = {
    "wrong document": (said("It [1].", [{**TIME, "doc": 9}]), "It [1].", "answered"),
    "no document": (said("It [1].", [{"id": 1, "quote": TIME["quote"]}]), "It [1].", "answered"),
    "ids as strings": (said("It [1].", [{**TIME, "id": "[1]"}]), "It [1].", "answered"),
    "ids left out": (said("It [1].", [{"quote": TIME["quote"]}]), "It [1].", "answered"),
    "quotes as strings": (said("It [1].", [TIME["quote"]]), "It [1].", "answered"),
    "one citation, no list": (said("It [1].", TIME), "It [1].", "answered"),
    "mark without citation": (said("It [1][4]. So [5].", [TIME]), "It [1]. So.", "partly"),
    "citation without mark": (said("25 minutes.", [TIME]), "25 minutes.", "partly"),
    "prose around": ("Sure {1}! " + said("It [1].", [TIME]) + " {ok}", "It [1].", "answered"),
    "code fence": ("```json\n" + said("It [1].", [TIME]) + "\n```", "It [1].", "answered"),
    "wrapped": ('{"result": ' + said("It [1].", [TIME]) + "}", "It [1].", "answered"),
    "no JSON": ("It takes 25 minutes [1].", "It takes 25 minutes.", "unverified"),
    "fenced prose": ("```\nIt takes long.\n```", "It takes long.", "unverified"),
    "other JSON": ('{"reply": "25"}', '{"reply": "25"}', "unverified"),
    "empty": ("", "Not found.", "not_found"),
    "white space": (" \n", "Not found.", "not_found"),
    "empty answer": (said("", [TIME]), "Not found.", "not_found"),
    "only a false mark": (said("[3]", [TIME]), "Not found.", "not_found"),
    "null": (said(None, []), "Not found.", "not_found"),
    "not found": (said("", [], False), "Not found.", "not_found"),
    "not found, in words": (said("It is not said [1].", [], False), "It is not said.", "not_found"),
    "not found, as text": (said("", [TIME], "False"), "Not found.", "not_found"),
    "not found, with evidence": (said("", [TIME], False), "Not found.", "not_found"),
    "found left out": (said("It [1].", [TIME], found=()), "It [1].", "answered"),
    "answer a number": (said(25), "25", "unverified"),
    "answer a list": (said(["a", 1]), '["a", 1]', "unverified"),
    "citations no list": (said("It [1].", 7), "It.", "unverified"),
    "a broken object before": ('{"a": #} {"answer": "It."}', "It.", "unverified"),
    "citations broken": ('{"found": true, "citations": [#], "answer": "It."}', "It.", "unverified"),
    "trailing commas": ('{"found": true, "answer": "It.",}', "It.", "unverified"),
    "Python's words": ('{"found": False, "answer": None}', "Not found.", "not_found"),
    "raw line breaks": ('{"answer": "It\ntakes\nlong."}', "It\ntakes\nlong.", "unverified"),
    "bare quotes": ('{"answer": "Say "yes", now."}', 'Say "yes", now.', "unverified"),
    "no closing brace": ('{"found": true, "answer": "It."', "It.", "unverified"),
    "the same key twice": ('{"answer": "One.", "answer": "Two."}', "One.", "unverified"),
}  # fmt: skip


@each(("text", "answer", "status"), ODD_REPLIES.values(), ids=ODD_REPLIES)
def test_an_odd_reply_is_understood(text: str, answer: str, status: str) -> None:
    result = read(text)

    assert (result.answer, result.status) == (answer, status)
    assert result.answerable == bool(result.citations)
    assert read(*text) == result


def test_quotation_marks_that_the_model_forgot_to_escape_stay_in_the_quote() -> None:
    quote = '"quote": "Use the blue "DeCalc" tablets only."'
    text = '{"found": true, "citations": [{"id": 1, ' + quote + '}], "answer": "Blue [1]."}'

    assert read(text).citations[0].quote == "Use the blue “DeCalc” tablets only."


def test_surrogate_escapes_split_over_chunks_are_one_character() -> None:
    text = r'{"found": true, "answer": "Hot \ud83d\udd25, half \ud83d."}'

    assert read(*text).answer == read(text).answer == "Hot 🔥, half \ufffd."


UNPROVEN = {
    "the question": ("How long does descaling take?", "not_found"),
    "the prompt": ("Answer the user's question from the documents", "not_found"),
    "a changed number": ("Descaling takes 35 minutes.", "altered_number"),
    "nothing": ("", "empty"),
}


@each(("quote", "reason"), UNPROVEN.values(), ids=UNPROVEN)
def test_what_no_document_says_is_rejected_with_the_reason(quote: str, reason: str) -> None:
    result = read(said("It takes long [1].", [{"id": 1, "doc": 0, "quote": quote}]))

    assert [rejected.reason for rejected in result.rejected] == [reason]
    assert (result.answer, result.status) == ("It takes long.", "unverified")
    assert not result.answerable


def test_of_two_quotes_under_one_id_the_first_has_the_mark() -> None:
    result = read(said("It [1].", [TIME, {**LEAVE, "id": 1}, TIME]))

    assert [c.quote for c in result.citations] == [TIME["quote"], LEAVE["quote"]]
    assert [c.answer_start for c in result.citations] == [0, None]


def test_a_passage_that_is_quoted_twice_has_one_number() -> None:
    again = {"id": 2, "doc": 0, "quote": TIME["quote"].upper()}
    text = said("Go [1][2]. So [2]. Leave [3] [2], [1].", [TIME, again, {**LEAVE, "id": 3}])

    result = read(text)

    assert result == read(*text)
    assert result.answer == "Go [1]. So [1]. Leave [2] [1], [1]."
    assert [(c.id, c.quote) for c in result.citations] == [(1, TIME["quote"]), (2, LEAVE["quote"])]


def test_without_required_citations_an_unproved_answer_counts() -> None:
    result = read(said("It takes long."), require_citation=False)

    assert (result.answerable, result.status) == (True, "unverified")


def test_support_is_the_share_of_sentences_with_a_verified_quote() -> None:
    result = read(said("25 minutes [1]. All of 30 days [2]. So nice. Bye now.", [TIME, LEAVE]))

    assert (result.support, result.status) == (0.5, "partly")
    assert [span.text for span in result.unsupported_sentences] == ["So nice.", "Bye now."]


@example("[[[[" * 50)
@given(st.text('[]0129,;-– a"{}:\\', max_size=200))
@settings(max_examples=50, deadline=None)
def test_junk_is_read_without_an_error(text: str) -> None:
    check_invariants(read('{"found": true, "citations": [], "answer": "' + text))


@each("junk", ["[", "1 ", '{"a":', '"', "\\", '{"', "[["])
def test_a_model_that_repeats_itself_costs_no_time(junk: str) -> None:
    text = '{"found": true, "citations": ' + junk * 3000

    check_invariants(read(*[text[at : at + 40] for at in range(0, len(text), 40)]))
