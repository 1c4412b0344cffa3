"""Quotes are found whatever their formatting, and never when their meaning was altered."""

import json
import random
import re
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from pydantic import ValidationError

from ai21_chains._quotes.normalize import normalize
from ai21_chains.citations import Citation, PreparedDocuments, RejectedQuote, verify_quote

CONTRACT = """\
MASTER SUPPLY AGREEMENT

This Agreement is entered into as of 3 March 2021 between Harbour Mills Ltd. (the “Supplier”) and
Quay Bakeries, Inc. (the “Buyer”).

1.1  Term. This Agreement begins on the Effective Date and shall remain in force for thirty-six
(36) months, unless it is terminated earlier under Section 9.

2.4  Price. The Buyer shall pay $1,250.00 for each tonne of flour, less a rebate of 3.5% of every
order that exceeds 150 tonnes – measured at the Supplier's gate – within forty-five (45) days of
receipt of the invoice. Late amounts bear interest at the lower of 8% a year and the highest rate
that the law allows.

5.2  Exclusivity. The Supplier grants the Buyer a non-exclusive right to use the Marks. The Buyer
may not assign this right without the prior written consent of the Supplier, and neither Party may
disclose the Confi-
dential Information of the other to any third party.

9.1  Termination. Either Party may terminate this Agreement upon sixty (60) days' written notice.
Any unlawful act of a Party, or its failure to perform any material obligation, entitles the other
Party to terminate at once; the Supplier is not liable for lost profits.
"""
PREPARED = PreparedDocuments([CONTRACT])
WORDS = [match.span() for match in re.finditer(r"\S+", CONTRACT)]


def found(quote: str, *documents: Document | str, claimed: int | None = None) -> Citation:
    result = verify_quote(quote, documents or PREPARED, claimed=claimed)
    assert isinstance(result, Citation), result
    return result


def rejected(quote: str, *documents: Document | str) -> RejectedQuote:
    result = verify_quote(quote, documents or PREPARED)
    assert isinstance(result, RejectedQuote), result
    return result


@st.composite
def passages(draw: st.DrawFn, words: int = 8) -> tuple[int, int]:
    first = draw(st.integers(0, len(WORDS) - words))
    last = draw(st.integers(first + words - 1, min(len(WORDS), first + 45) - 1))
    start, end = WORDS[first][0], WORDS[last][1]
    assume(not CONTRACT.startswith("dential", start) and CONTRACT[end - 1] != "-")
    return start, end


# --- the same words ---------------------------------------------------------------------------


def test_a_verbatim_quote_is_exact() -> None:
    citation = found("shall remain in force")
    assert (citation.match, citation.score, citation.occurrences) == ("exact", 1.0, 1)
    assert CONTRACT[citation.start : citation.end] == citation.quote == "shall remain in force"


@pytest.mark.parametrize(
    ("quote", "source"),
    [
        ("FOR THIRTY-SIX (36) MONTHS", "for thirty-six\n(36) months"),
        ('(the "Supplier") and Quay', "(the “Supplier”) and\nQuay"),
        ("150 tonnes - measured at the Supplier’s gate", None),
        ("disclose the Confidential Information", "disclose the Confi-\ndential Information"),
        (
            "disclose the Con-\r\n  fidential Information",
            "disclose the Confi-\ndential Information",
        ),
        ("terminate\u200b this Agree\u00adment upon", "terminate this Agreement upon"),
        ("“may terminate this Agreement”", "may terminate this Agreement"),
        ("is not liable for lost profits;", "is not liable for lost profits"),
        ("‘is not liable for lost pro\ufb01ts’", "is not liable for lost profits"),
    ],
)
def test_formatting_does_not_matter(quote: str, source: str | None) -> None:
    citation = found(quote)
    assert citation.quote == source or source is None
    assert citation.score == 1.0


@pytest.mark.parametrize(
    ("source", "quote"),
    [
        ("The e\u0301clair and the cafe\u0301 are shut", "éclair and the café"),
        ("The éclair and the café are shut", "e\u0301clair and the cafe\u0301"),
        ("an e\ufb03cient \ufb02our mill", "efficient flour mill"),
        ("costs ７５ euro a tonne", "costs 75 euro a tonne"),
        ("die STRASSE ist gesperrt", "die Straße ist gesperrt"),
        ("family 👩\u200d👩\u200d👧 and friends met", "family 👩👩👧 AND friends"),
        ("he said \u200fשלום עולם\u200e  today", "he said שלום עולם today"),
        ("agree\x02\r\nment of the parties", "agreement of the parties"),
        ("한국어 계약서입니다 여기", unicodedata.normalize("NFD", "한국어 계약서입니다")),
        ("一方应在三十日内支付\n全部费用。", "应在三十日内支付 全部费用"),
        ("तथा अनुबंध समाप्त", unicodedata.normalize("NFD", "तथा  अनुबंध")),
    ],
)
def test_other_scripts_and_encodings_map_back_to_the_source(source: str, quote: str) -> None:
    citation = found(quote, source)
    assert source[citation.start : citation.end] == citation.quote
    assert normalize(citation.quote).text == normalize(quote).text


def test_a_word_written_apart_or_together_is_the_same_word() -> None:
    assert found("a nonexclusive right to use the Marks").match == "fuzzy"
    assert found("a non-exclusive right to", "is a non-\nexclusive right to it").match == "fuzzy"


@given(st.text(max_size=60))
def test_every_span_of_the_normal_form_maps_into_the_text(text: str) -> None:
    normal = normalize(text)
    previous = 0
    for offset in range(len(normal.text)):
        start, end = normal.span(offset, offset + 1)
        assert previous <= start < end <= len(text)
        previous = start


# --- elision ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ellipsis", ["...", "…", " [...] ", " […] ", ". . .", " <omitted> "])
def test_an_ellipsis_is_found_with_what_it_skips(ellipsis: str) -> None:
    citation = found(f"less a rebate of 3.5%{ellipsis}that exceeds 150 tonnes")
    assert citation.match == "elided"
    assert citation.quote == "less a rebate of 3.5% of every\norder that exceeds 150 tonnes"


def test_an_ellipsis_at_the_ends_skips_nothing() -> None:
    assert found("... shall remain in force ...").quote == "shall remain in force"


def test_an_ellipsis_does_not_join_distant_passages() -> None:
    assert rejected("The Buyer shall pay ... for lost profits").reason == "not_found"


def test_the_parts_of_an_elision_must_be_in_order() -> None:
    assert rejected("that exceeds 150 tonnes ... less a rebate of 3.5%").reason == "not_found"


@pytest.mark.parametrize(
    ("source", "quote"),
    [
        ("The Buyer may not terminate this Agreement.", "The Buyer may ... terminate this"),
        ("The Buyer can never end this Agreement.", "The Buyer can [...] end this Agreement"),
        (
            "The Buyer may, under no circumstances whatsoever, terminate this Agreement.",
            "The Buyer may … terminate this Agreement",
        ),
        (
            "The Buyer shall not sell, lease, lend, pledge or otherwise assign the Marks.",
            "The Buyer shall ... assign the Marks",
        ),
        ("The Buyer may assign it except to a rival.", "The Buyer may assign it ... to a rival"),
        ("The fee is due unless the Buyer objects.", "The fee is due ... the Buyer objects."),
        (
            "The Buyer may audit the books. Neither Party may copy the books at any time.",
            "The Buyer may audit the books ... may copy the books",
        ),
    ],
)
def test_an_ellipsis_must_not_hide_a_negation(source: str, quote: str) -> None:
    result = rejected(quote, source)
    assert result.reason == "altered_negation"
    assert "the ellipsis drops" in result.message


@pytest.mark.parametrize(
    ("source", "quote"),
    [
        (
            "The fee (which shall not exceed ten euro) is due in May of each year.",
            "The fee ... is due in May of each year",
        ),
        (
            "The fee is due in May. It is not refundable in any case. It is paid in euro.",
            "The fee is due in May. [...] It is paid in euro.",
        ),
        (
            "The Buyer shall pay all costs, including without limitation taxes, within May.",
            "The Buyer shall pay all costs ... within May",
        ),
    ],
)
def test_a_negation_that_is_skipped_with_its_clause_may_be_elided(source: str, quote: str) -> None:
    assert found(quote, source).match == "elided"


# --- slips ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quote",
    [
        "Either Party may terminate this Agreemnt upon sixty (60) days' written notice",
        "Either Party may temrinate this Agreement upon sixty (60) days' written notice",
        "Either Party may terminate this Agreement upom sixty (60) days' writtten notice",
        "Either Party may terminate thisAgreement upon sixty (60) days' written notice",
        "**Either Party** may terminate this Agreement, upon sixty, (60), days' written notice",
    ],
)
def test_a_slip_is_found_and_the_source_is_quoted(quote: str) -> None:
    citation = found(quote)
    assert citation.match == "fuzzy"
    assert 0.9 <= citation.score <= 1
    assert (
        citation.quote
        == "Either Party may terminate this Agreement upon sixty (60) days' written notice"
    )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("sixty (60) days", "sixty (90) days", "altered_number"),
        ("sixty (60) days", "ninety (60) days", "altered_number"),
        ("sixty (60) days", "sixty (60) weeks", "altered_number"),
        ("sixty (60) days", "(60) days", "altered_number"),
        ("$1,250.00", "$1,350.00", "altered_number"),
        ("$1,250.00", "€1,250.00", "altered_number"),
        ("$1,250.00", "1,250.00", "altered_number"),
        ("3.5%", "3.5", "altered_number"),
        ("3.5%", "35%", "altered_number"),
        ("3 March 2021", "3 March 2012", "altered_number"),
        ("3 March 2021", "3 May 2021", "altered_number"),
        ("under Section 9.", "under Section 6.", "altered_number"),
        ("may terminate", "may not terminate", "altered_negation"),
        ("may not assign", "may assign", "altered_negation"),
        ("neither Party may", "either Party may", "altered_negation"),
        ("without the prior", "with the prior", "altered_negation"),
        ("unless it is", "if it is", "altered_negation"),
        ("may terminate", "must terminate", "altered_word"),
        ("shall pay", "may pay", "altered_word"),
        ("the Supplier is", "the Buyer is", "altered_word"),
        ("The Buyer shall", "The Seller shall", "altered_word"),
        ("the lower of", "the higher of", "altered_word"),
        ("written notice", "oral notice", "altered_word"),
        ("and the highest rate", "or the highest rate", "altered_word"),
        ("material obligation", "obligation", "altered_word"),
        ("third party", "third parties", "altered_word"),
    ],
)
def test_an_alteration_is_rejected_with_its_reason(old: str, new: str, reason: str) -> None:
    at = CONTRACT.index(old)
    start = max(a for a, _ in WORDS if a <= max(0, at - 50))
    end = min(b for _, b in WORDS if b >= min(len(CONTRACT.rstrip()), at + len(old) + 40))
    original = CONTRACT[start:end]
    found(original)
    result = rejected(original.replace(old, new))
    assert result.reason == reason
    assert result.nearest is not None
    assert old.split()[-1] in result.nearest.text


@pytest.mark.parametrize(
    ("source", "quote"),
    [
        ("owed by Acme LLC to the bank on the day", "owed by Acme LLP to the bank on the day"),
        (
            "the employee shall pay the fee of the bank",
            "the employer shall pay the fee of the bank",
        ),
        ("paid by the terms of the one schedule", "paid by the term of the one schedule"),
        (
            "it costs 10² dollars in the end, and so on",
            "it costs 102 dollars in the end, and so on",
        ),
        (
            "a pipe of 1½ inches is to be used by them",
            "a pipe of 11/2 inches is to be used by them",
        ),
        ("it is due on that day's end to the bank", "it is due on that May's end to the bank"),
        ("in each case under the law of the land", "in each case in under the law of the land"),
        ("the share is ***% of the net sales", "the share is 5% of the net sales"),
    ],
)
def test_one_letter_that_makes_another_thing_is_no_slip(source: str, quote: str) -> None:
    found(source, source)
    rejected(quote, source)


def test_no_word_may_differ_in_a_language_the_word_lists_do_not_know() -> None:
    source = "Der Vertrag ist nach Ablauf der Frist für beide Parteien kein gültiger Vertrag mehr."
    found("nach Ablauf der  Frist für BEIDE Parteien", source)
    rejected("nach Ablauf der Frist für beide Parteien ein gültiger Vertrag", source)
    rejected("nach Ablauf der Frisst für beide Parteien kein gültiger Vertrag", source)


# --- word boundaries --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "quote", "reason"),
    [
        ("within 150 days of notice", "50 days of notice", "altered_number"),
        ("21,000 shares of stock", "1,000 shares of stock", "altered_number"),
        ("pay up to 1,000,000", "pay up to 1,000", "altered_number"),
        ("a share of 13.5 percent", "3.5 percent", "altered_number"),
        ("a share of 3.55", "a share of 3.5", "altered_number"),
        ("a share of 5% of sales", "a share of 5", "altered_number"),
        ("a change of -15 degrees", "15 degrees", "altered_number"),
        ("any unlawful act of a Party", "lawful act of a Party", "inside_word"),
        ("any un-\nlawful act of a Party", "lawful act of a Party", "inside_word"),
        ("any un\u00adlawful act of a Party", "lawful act of a Party", "inside_word"),
        ("a non-exclusive right to it", "exclusive right to it", "inside_word"),
        ("as the Party can't do", "as the Party can", "inside_word"),
        ("一方不可以解除合同", "可以解除合同", "inside_word"),
    ],
)
def test_a_quote_must_not_cut_a_word_or_number(source: str, quote: str, reason: str) -> None:
    assert rejected(quote, source).reason == reason
    assert rejected(quote.upper() + " ", source).reason == reason


def test_a_whole_word_is_found_although_it_also_stands_inside_another() -> None:
    assert found("lawful act", "an unlawful act is no lawful act").start == 22
    assert found("e", "the tree e").start == 9


def test_a_quote_must_not_cut_a_letter_from_its_accent_or_a_picture_from_its_parts() -> None:
    assert rejected("the cafe", "the cafe\u0301").reason == "inside_word"
    assert rejected("meet our 👩", "meet our 👩\u200d👧").reason == "inside_word"


# --- several documents ------------------------------------------------------------------------


def test_the_quote_decides_the_document_and_the_claim_only_between_equals() -> None:
    documents = ["the fee is ten euro", "the fee is six euro", "the fee is six euro a day"]
    assert found("fee is six euro", *documents).document_index == 1
    assert found("fee is six euro", *documents, claimed=2).document_index == 2
    assert found("fee is six euro", *documents, claimed=0).document_index == 1
    assert found("fee is six euro", *documents, claimed=-1).document_index == 1
    assert found("fee is six euro", *documents, claimed=99).occurrences == 2


def test_a_citation_carries_what_the_metadata_know() -> None:
    metadata = {
        "start_index": 100,
        "page": 3,
        "page_label": "iv",
        "title": "T",
        "file_path": "a.pdf",
    }
    citation = found("ten euro", Document("fee: ten euro", metadata=metadata, id="d1"))
    assert (citation.document_id, citation.page, citation.title) == ("d1", "iv", "T")
    assert (citation.source, citation.source_start, citation.source_end) == ("a.pdf", 105, 113)


@pytest.mark.parametrize("metadata", [{}, {"start_index": -1, "page": None, "source": ""}])
def test_unknown_metadata_are_none(metadata: dict[str, object]) -> None:
    citation = found("ten euro", Document("fee: ten euro", metadata=metadata))
    assert citation.source_start is citation.source_end is citation.page is None
    assert citation.source is citation.title is citation.document_id is None


def test_results_are_frozen_and_survive_json() -> None:
    citation = found("shall remain in force")
    assert Citation.model_validate_json(citation.model_dump_json()) == citation
    result = rejected("shall \ud800 remain")
    assert RejectedQuote.model_validate(json.loads(result.model_dump_json())) == result
    with pytest.raises(ValidationError, match="frozen"):
        citation.id = 3


# --- whatever a model says --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("......", "empty"),
        ("\x00\ud800", "empty"),
        ("Pay,", "too_short"),
        ("The moon is made of green cheese and orbits the bakery", "not_found"),
        ("(a+)+$ [^", "not_found"),
    ],
)
def test_a_quote_without_substance_is_rejected(quote: str, reason: str) -> None:
    assert rejected(quote).reason == reason


def test_a_short_quote_must_stand_as_it_is() -> None:
    assert found("Marks").match == "exact"
    assert rejected("MARKS").reason == "too_short"


def test_nothing_is_found_without_documents() -> None:
    result = verify_quote("shall remain in force", [], claimed=0)
    assert isinstance(result, RejectedQuote)
    assert (result.reason, result.claimed) == ("not_found", 0)


@pytest.mark.parametrize(
    ("quote", "documents", "claimed", "message"),
    [
        (None, ["x"], 0, "quote must be str"),
        ("x", "x", 0, "put a single document into a list"),
        ("x", Document("x"), 0, "put a single document into a list"),
        ("x", 3, 0, "documents must be a sequence"),
        ("x", [3], 0, "a document must be a Document or a str, not int"),
        ("x", ["x"], "0", "claimed must be int or None"),
    ],
)
def test_a_wrong_type_is_a_type_error(
    quote: Any, documents: Any, claimed: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        verify_quote(quote, documents, claimed=claimed)


@pytest.mark.parametrize(
    "quote",
    ["a" * 10_000, "(a+)+$" * 1_600, "a ... " * 1_700, "the Buyer shall " * 600, "e\u0301" * 5_000,
     "- \n" * 3_000, "a'" * 5_000, "x-\n" * 3_000, "\u200b" * 10_000 + "x", "1" * 30_000],
)  # fmt: skip
def test_a_pathological_quote_is_rejected_quickly(quote: str) -> None:
    started = time.thread_time()
    rejected(quote, CONTRACT * 10)
    assert time.thread_time() - started < 1


# --- properties -------------------------------------------------------------------------------

_ALPHABET = st.sampled_from("aab  .-\n'’…¹½é\u0301\u00ad\u200bß10,%ﬁשן中不👩\x00\ud800")


@given(st.text(_ALPHABET, max_size=40), st.text(_ALPHABET, max_size=20), st.data())
@settings(max_examples=100)
def test_whatever_is_accepted_is_a_span_of_the_source(
    source: str, quote: str, data: st.DataObject
) -> None:
    source = source.replace("\ud800", "?")
    if source and data.draw(st.booleans()):
        start = data.draw(st.integers(0, len(source) - 1))
        quote = source[start : data.draw(st.integers(start, len(source)))]
    result = verify_quote(quote, [source])
    if isinstance(result, Citation):
        assert source[result.start : result.end] == result.quote != ""
    elif result.nearest:
        near = result.nearest
        assert source[near.start : near.end] == near.text


NOISE: dict[str, Callable[[str, random.Random], str]] = {
    "white-space": lambda q, r: re.sub(
        r"\s+", lambda _: r.choice(["\n", "  ", "\t\r\n", "\xa0"]), q
    ),
    "case": lambda q, r: r.choice([q.upper(), q.lower(), q.title(), q.swapcase()]),
    "quotation marks": lambda q, r: q.translate(str.maketrans("“”'", '""’')),
    "dashes": lambda q, r: q.replace("–", "-").replace("-", r.choice("‐‑–—")),
    "line-end hyphens": lambda q, r: re.sub(
        r"[A-Za-z]{6,}", lambda m: m[0][: (k := r.randint(2, 4))] + "-\n" + m[0][k:], q, count=2
    ),
    "outer marks": lambda q, r: r.choice(["“%s”", '"%s"', " %s\n"]) % q,
    "ligatures": lambda q, r: q.replace("fi", "ﬁ").replace("fl", "ﬂ"),
}


@given(passages(), st.sampled_from(sorted(NOISE)), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_formatting_noise_is_always_found(
    passage: tuple[int, int], kind: str, chance: random.Random
) -> None:
    start, end = passage
    citation = found(NOISE[kind](CONTRACT[start:end], chance))
    # Marks at the ends of the passage may be taken for those around the quote.
    assert 0 <= citation.start - start <= 1
    assert 0 <= end - citation.end <= 2


def _change_digit(word: str, chance: random.Random) -> str:
    at = chance.choice([i for i, char in enumerate(word) if char.isdigit()])
    return word[:at] + str((int(word[at]) + chance.randint(1, 9)) % 10) + word[at + 1 :]


ALTERATIONS: dict[str, tuple[str, Callable[[str, random.Random], str]]] = {
    "digit": (r"\d", _change_digit),
    "negation added": (r"^(may|shall|is|are)$", lambda w, r: f"{w} not"),
    "negation dropped": (r"^(not|without|neither|unless)$", lambda w, r: ""),
    "party": (r"^(Supplier|Buyer|Party)$", lambda w, r: r.choice(["Licensee", "Agent", "Tenant"])),
    "modal": (r"^(may|shall)$", lambda w, r: "must"),
    "unit": (r"^(days|months)$", lambda w, r: r.choice(["years", "weeks", "hours"])),
    "any word": (r"^[A-Za-z]{4,}$", lambda w, r: r.choice(["harvest", "moon", "whether", "oven"])),
}


@given(passages(), st.sampled_from(sorted(ALTERATIONS)), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_an_alteration_is_never_accepted(
    passage: tuple[int, int], kind: str, chance: random.Random
) -> None:
    pattern, alter = ALTERATIONS[kind]
    words = CONTRACT[slice(*passage)].split()
    places = [i for i, word in enumerate(words[1:-1], 1) if re.search(pattern, word)]
    assume(places)
    at = chance.choice(places)
    words[at] = alter(words[at], chance)
    rejected(" ".join(filter(None, words)))


@given(passages(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_reordered_words_are_never_accepted(
    passage: tuple[int, int], chance: random.Random
) -> None:
    words = CONTRACT[slice(*passage)].split()
    half = chance.randint(3, len(words) - 3)
    rejected(" ".join(words[half:] + words[:half]))
