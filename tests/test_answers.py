"""The answer's sentences and numbers, and what an answer can be turned into."""

from __future__ import annotations

import json

import pytest
from langchain_core.load import dumps, loads

from ai21_chains import Citation, GroundedAnswer, verify_quote
from ai21_chains.answers import Marks, sentences, unsupported_links, unsupported_numbers
from tests.cases import each

SENTENCES = {
    "plain": ["It is. Is it? Yes!", "It is.", "Is it?", "Yes!"],
    "abbreviations": ["See No. 5, e.g. 3.5 kg. Or Dr. X.", "See No. 5, e.g. 3.5 kg.", "Or Dr. X."],
    "company": ["Acme Inc. was here. So it is.", "Acme Inc. was here.", "So it is."],
    "initials": ["J. K. Row of the U.S. wrote it."],
    "yes or no": ["No. It is 5 EUR [1]."],
    "marks behind": ["It is. [1] So is it.[2][3] Ok", "It is. [1]", "So is it.[2][3]", "Ok"],
    "ellipsis": ["Wait ... and go. It is… Done now.", "Wait ... and go.", "It is…", "Done now."],
    "quotation": ['He said "Stop." Then he left.', 'He said "Stop."', "Then he left."],
    "Chinese": ["需要25分钟。[1]请勿中断！", "需要25分钟。[1]", "请勿中断！"],
    "Hebrew": ["הניקוי אורך שעה. כמה זה?", "הניקוי אורך שעה.", "כמה זה?"],
    "Arabic": ["كم دقيقة؟ خمس دقائق.", "كم دقيقة؟", "خمس دقائق."],
    "list": ["Steps:\n1. Fill it.\n2) Wait\n- rinse", "Steps:\n1. Fill it.", "2) Wait", "- rinse"],
    "lines": ["Fee: 5 EUR [1]\nTerm: 2 years", "Fee: 5 EUR [1]", "Term: 2 years"],
    "wrapped line": ["It takes\n25 minutes\nor less."],
    "mark on its own line": ["The fee\n[1]\nThe term", "The fee\n[1]", "The term"],
    "unverified mark": [
        "It is [unverified 1]. So is it.[unverified 12] Ok\n[unverified 2]",
        "It is [unverified 1].",
        "So is it.[unverified 12]",
        "Ok\n[unverified 2]",
    ],
    "headings": ["# Fees\nIt is 5.\n**Terms**\nIt is 2.", "It is 5.", "It is 2."],
    "table": ["| a | b |\n|---|---|\n| c | d [1] |", "| a | b |", "| c | d [1] |"],
}  # fmt: skip


@each("case", SENTENCES.values())
def test_an_answer_is_split_into_sentences(case: list[str]) -> None:
    text, *expected = case
    spans = sentences(text)

    assert [span.text for span in spans] == (expected or [text])
    assert all(text[span.start : span.end] == span.text for span in spans)


SUPPORTED = {
    "thousands": ("1,000 EUR", "1000 EUR is the fee"),
    "European thousands": ("1.000,50 EUR", "EUR 1,000.50 is the fee"),
    "spaced thousands": ("10 000 people", "as many as 10,000 people"),
    "decimals": ("25.0 minutes", "25 minutes it is"),
    "percent": ("5% off", "5 percent off the price"),
    "in brackets": ("30 days", "thirty (30) days it is"),
    "spelled": ("30 days", "within thirty days"),
    "leading zero": ("03 March", "on 3 March it was"),
    "Arabic digits": ("٢٥ دقيقة", "25 minutes it is"),
    "date": ("12.03.2024", "signed on 12.03.2024"),
    "list numbering": ("1. Fill\n2) wait", "nothing to count here"),
    "marks": ("Fill it [1]. Go [unverified 2].", "nothing to count here"),
}
UNSUPPORTED = {
    "another decimal point": ("3.5 kg", "35 kg of coffee", ["3.5"]),
    "another number": ("25 or 30 or 25", "20 minutes it is", ["25", "30"]),
    "more digits": ("10,000", "1,000 people", ["10,000"]),
}


@each(("answer", "quote"), SUPPORTED.values())
def test_a_number_in_another_form_is_the_same_number(answer: str, quote: str) -> None:
    assert unsupported_numbers(answer, [cite(quote)]) == []


@each(("answer", "quote", "found"), UNSUPPORTED.values())
def test_a_number_in_no_quote_is_listed_once(answer: str, quote: str, found: list[str]) -> None:
    assert unsupported_numbers(answer, [cite(quote)]) == found


MARKS = {
    "first use decides": ("B [2]. A [1].", "B [1]. A [2]."),
    "lists and ranges": ("A [1, 2]. B [1-2].", "A [1][2]. B [1][2]."),
    "double brackets": ("A [[2]].", "A [1]."),
    "unknown": ("A [7]. B [1, 7]. C [1-9].", "A. B [1]. C [1][2]."),
    "attached": ("A sentence[1].", "A sentence[1]."),
    "behind one letter": ("Plan B[1].", "Plan B [1]."),
    "nested": ("A [1[7],2].", "A,2]."),
    "no marks": ("[sic] [2024] a[0] x[7] [0] [1](http://x) [12, 2024]", None),
    "cut off": ("A [1, ", "A"),
}


@each(("text", "shown"), MARKS.values())
def test_marks_are_renumbered_and_only_verified_ones_stay(text: str, shown: str | None) -> None:
    whole, split = Marks(), Marks()
    whole.verified = split.verified = frozenset({1, 2})

    assert whole.feed(text) + whole.close() == (shown or text)
    assert "".join(map(split.feed, text)) + split.close() == (shown or text)


def cite(quote: str, **fields: object) -> Citation:
    citation = verify_quote(quote, [quote])
    assert isinstance(citation, Citation)
    return citation.model_copy(update=fields)


def answer() -> GroundedAnswer:
    source = {"source": "https://x.org/a.html", "title": "A", "page": 4}
    return GroundedAnswer(
        answer="It takes 25 minutes [1].",
        citations=[
            cite("Takes <b>25</b> minutes ![x](y).", id=1, answer_start=0, answer_end=24, **source)
        ],
        usage={"input_tokens": 5, "output_tokens": 3, "total_tokens": 8},
    )


def test_the_message_has_langchains_citations_with_the_place_in_the_source() -> None:
    message = answer().to_message()
    (block,) = message.content_blocks
    (annotation,) = block["annotations"]  # type: ignore[typeddict-item]

    assert message.text == "It takes 25 minutes [1]."
    assert message.usage_metadata == answer().usage
    assert annotation["type"] == "citation"
    assert annotation["cited_text"] == "Takes <b>25</b> minutes ![x](y)."
    assert (annotation["start_index"], annotation["end_index"]) == (0, 24)
    assert (annotation["url"], annotation["title"]) == ("https://x.org/a.html", "A")
    extras = {
        "document_index": 0,
        "page": 4,
        "start": 0,
        "end": 32,
        "source": "https://x.org/a.html",
    }
    assert annotation["extras"] == extras


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_the_message_survives_serialization() -> None:
    message = answer().to_message()

    loaded = loads(dumps(message), allowed_objects="core")

    assert loaded == message
    assert loaded.content_blocks == message.content_blocks


def test_an_answer_survives_json() -> None:
    data = json.loads(answer().model_dump_json())

    assert GroundedAnswer.model_validate(data) == answer()


def test_markdown_has_footnotes_in_which_a_document_cannot_place_an_image() -> None:
    assert answer().to_markdown() == (
        "It takes 25 minutes [^1].\n\n"
        "[^1]: “Takes \\<b\\>25\\</b\\> minutes !\\[x\\](y).” (https://x.org/a.html, page 4)"
    )
    assert GroundedAnswer(answer="None.").to_markdown() == "None."


def test_markdown_of_an_answer_loads_and_runs_nothing() -> None:
    text = "See ![x](http://evil.example/?q=1), <img src=//evil.example> and 3 < 4!"

    assert GroundedAnswer(answer=text).to_markdown() == (
        "See \\![x](http://evil.example/?q=1), \\<img src=//evil.example> and 3 < 4!"
    )


LINKS = {
    "image": ("See ![x](http://evil.example/?q=1).", ["http://evil.example/?q=1"]),
    "plain": ("See www.evil.example/a, now.", ["www.evil.example/a"]),
    "twice": ("Go to HTTPS://x.y. Or https://x.y/z or https://x.y/z", ["HTTPS://x.y", "https://x.y/z"]),
    "quoted": ("See https://good.example/a.", []),
    "no link": ("Use a/b or c://d? 3//4 is 0.", ["c://d"]),
}  # fmt: skip


@each(("text", "found"), LINKS.values())
def test_a_link_in_no_quote_is_listed_once(text: str, found: list[str]) -> None:
    assert unsupported_links(text, [cite("More is at https://good.example/a for all.")]) == found


def test_a_field_is_read_by_its_name_as_in_the_dict_of_a_stream() -> None:
    assert answer()["answer"] == "It takes 25 minutes [1]."
    with pytest.raises(KeyError):
        answer()["model_dump"]
