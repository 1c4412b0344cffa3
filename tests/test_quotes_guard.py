"""What must never be accepted, and what may: words one letter off, ellipses, names, numbers."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai21_chains._quotes.approximate import COMPARISON, MAX_COMPARED, find_fuzzy
from ai21_chains._quotes.elision import dropped_bound, dropped_negation, joins_sentences
from ai21_chains._quotes.search import Quote, Source
from ai21_chains._quotes.vocabulary import is_word
from ai21_chains._quotes.wording import could_be_slip
from ai21_chains.citations import Citation, PreparedDocuments, RejectedQuote, verify_quote

LEASE = """\
LEASE of 1 May 2020 between Lakeside Holdings LLC (the "Landlord") and Ms. Odile Smith, baker.

4. The Tenant shall pay the rent in advance for twelve months, unless the Landlord agrees in
writing to a later date, and any of the parties may ask for an audit of the accounts before the
end of the term. Lakeside may enter the rooms after a notice of sixty (60) hours. Lakeside shall
not disturb the Tenant without need. Subsection (a) of this section is subject to part viii below.

5. The moral rights of the Tenant in the design of the rooms shall remain with her. The Landlord
shall return a deposit of up to ten percent of the rent. Nothing in this lease is a warranty. The
Landlord has the rooms inspected by Lakeside each year.
"""
PREPARED = PreparedDocuments([LEASE])


def accepts(quote: str, source: str | None = None) -> bool:
    result = verify_quote(quote, PREPARED if source is None else [source])
    if isinstance(result, Citation):
        text = LEASE if source is None else source
        assert text[result.start : result.end] == result.quote
    return isinstance(result, Citation)


def change(old: str, new: str) -> str:
    """Return the paragraph of the lease that has `old`, with `new` in its place."""
    paragraph = next(part for part in LEASE.split("\n\n") if old in " ".join(part.split()))
    sentences = re.split(r"(?<=[a-z]\.) ", " ".join(paragraph.split()))
    return next(sentence for sentence in sentences if old in sentence).replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("twelve months", "eleven months"),
        ("twelve months", "twelve moths"),
        ("sixty (60)", "sixty (80)"),
        ("sixty (60)", "sixth (60)"),
        ("sixty (60)", "sixtn (60)"),  # sixty or sixth
        ("ten percent", "ten per month"),
        ("shall pay", "should pay"),
        ("shall not disturb", "shall note disturb"),
        ("shall not disturb", "shall now disturb"),
        ("Nothing in", "Noting in"),
        ("unless the Landlord", "if the Landlord"),
        ("to a later date", "to a latter date"),
        ("before the end", "after the end"),
        ("and any of", "or any of"),
        ("the parties may", "the partners may"),
        ("The Tenant shall", "The Tenants shall"),
        ("an audit of", "an audio of"),
        ("moral rights", "amoral rights"),
        ("moral rights", "morale rights"),
        ("the design", "the resign"),
        ("is a warranty", "is a warrant"),
        ("inspected by Lakeside each", "inspected Lakeside each"),
        ("Subsection (a) of", "Subsection (b) of"),
        ("Subsection (a) of", "Subsection of"),
        ("part viii below", "part vii below"),
        ("Odile Smith, baker", "Odile Smyth, baker"),
        ("Holdings LLC", "Holdings LLP"),
    ],
)
def test_one_letter_or_word_that_says_something_else_is_refused(old: str, new: str) -> None:
    assert accepts(change(old, old))
    assert not accepts(change(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("shall pay", "shal pay"),
        ("shall pay", "shell pay"),  # no noun can stand there
        ("may enter", "mau enter"),
        ("not disturb", "nto disturb"),
        ("any of", "ayn of"),
        ("without need", "withuot need"),
        ("unless the Landlord", "unles the Landlord"),
        ("Nothing in", "Nothign in"),
        ("after a notice", "after a notise"),
        ("twelve months", "twelev months"),
        ("Lakeside shall", "Lakesde shall"),
        ("inspected by", "inspectd by"),
        ("The Landlord shall return", "The Landlrod shall return"),
    ],
)
def test_a_slip_that_leaves_no_other_word_is_found(old: str, new: str) -> None:
    assert accepts(change(old, new))


@pytest.mark.parametrize(
    "quote",
    ["the parties' moral conduct in the matter", "the parties' typical conduct in the matter"],
)
def test_an_anchor_inside_a_word_does_not_hide_its_beginning(quote: str) -> None:
    source = "This concerns the parties' {} conduct in the matter that is at hand."
    assert not accepts(quote, source.format(quote.split()[2].join(["a", ""])))


def test_a_light_word_must_not_move() -> None:
    source = "It is paid by the over-paying party to the other in the next quarter of each year."
    assert accepts(
        "paid by the over-paying party to other in the next quarter of each year", source
    )
    assert not accepts("paid by over-paying the party to the other in the next quarter", source)


@pytest.mark.parametrize(
    ("skipped", "after", "dropped"),
    [
        (" not ", "sell", "not"),
        (" and each of its affiliates shall not: ", "sell", "not"),
        (" , in its use of the goods, may not sell all; ", "or lease them", "not"),
        (" , in its use of the goods, may not sell all; ", "(ii) lease them", "not"),
        (" and its agents shall not through acme inc. ", "sell", "not"),
        (" apply, except as follows: ", "the buyer", "except"),
        (" , in no case later, ", "be paid", "no"),
        (" except as agreed in writing by all, and unless ", "agreed", "unless"),
        (" free of all claims except such as are ", "disclosed", "except"),
        (" including without limitation ", "taxes", None),
        (" no later than ", "five days", "no"),
        (" no later than five ", "days", None),
        (". it is not due. ", "it is paid", None),
        (" all of it; the seller shall not pay any of the costs; ", "it is due", None),
    ],
)
def test_which_negations_an_ellipsis_must_not_drop(
    skipped: str, after: str, dropped: str | None
) -> None:
    assert dropped_negation(skipped, after) == dropped


def test_an_ellipsis_must_not_drop_the_bound_or_the_currency_of_a_number() -> None:
    assert dropped_bound(" a fee of at most ", "ten euro") == "at most"
    assert dropped_bound(" a fee of $", "10") == "$"
    assert dropped_bound(" a fee of at most ", "the rent") is None
    assert not accepts("The Landlord shall return ... ten percent of the rent")
    assert accepts("The Landlord shall return ... percent of the rent")


def test_an_ellipsis_does_not_make_one_sentence_of_two_that_are_far_apart() -> None:
    assert joins_sentences("pay the rent. The Landlord shall")
    assert not joins_sentences(". The Landlord shall pay")
    assert not joins_sentences("pay acme inc. on the day")
    tenant = "The Tenant of the rooms in the old mill by the lake shall"
    landlord = "heat the rooms and the stairs in all winter months"
    middle = "It is paid by bank order. " * 8
    source = f"{tenant} pay what is due. {middle}The Landlord shall {landlord}."
    assert not accepts(f"{tenant} ... {landlord}", source)
    assert accepts(f"{tenant} pay what is due. ... The Landlord shall {landlord}", source)


@pytest.mark.parametrize(
    "word", ["germination", "shelves", "shelved", "running", "making", "parity"]
)
def test_the_vocabulary_knows_words_and_their_forms(word: str) -> None:
    assert is_word(word)


@pytest.mark.parametrize(
    "word", ["agreemnt", "shal", "providd", "customrs", "traiing", "sailes", "fluly", "q", ""]
)
def test_the_vocabulary_does_not_take_misspelt_words_for_forms(word: str) -> None:
    assert not is_word(word)


def test_a_misspelling_that_may_be_two_words_is_no_slip() -> None:
    assert could_be_slip("licensoor", "licensor")
    assert not could_be_slip("licensoe", "licensee")
    assert not could_be_slip("n", "no")


def test_a_sign_that_counts_in_the_quote_only_is_compared_with_nothing() -> None:
    for source in ("*", "Tickets cost nine euros *", "[x] *."):
        assert isinstance(verify_quote("prices are secret [*]", [source]), RejectedQuote), source


def test_a_slip_in_one_of_many_repetitive_documents_is_found_where_it_is() -> None:
    chance = random.Random(5)
    lines = [
        "The museum opens at ten and closes at five on every day of the week.",
        "Tickets cost nine euros for adults and are free for the children of members.",
        "Dogs must stay outside unless they guide their owners through the halls.",
    ]
    documents = [" ".join(chance.choices(lines, k=60)) for _ in range(60)]
    quote = documents[41][700:1900].partition(" ")[2].rpartition(" ")[0]
    middle = quote.index("outside", 500)
    result = verify_quote(f"{quote[:middle]}outide{quote[middle + 7 :]}", documents)
    assert isinstance(result, Citation)
    assert (result.document_index, result.quote) == (41, quote)


def test_only_so_many_passages_are_compared_with_a_quote() -> None:
    passage = (
        "The museum opens at ten and closes at five on each day of the {} week in a year. " * 8
    )
    quote = Quote(passage.format(*["first"] * 8))
    most = MAX_COMPARED // (len(quote.normal) + COMPARISON)
    # Each comes near, and says something else.
    sources = [Source(passage.format(*["first"] * 7, "second")) for _ in range(2 * most)]
    assert len(list(find_fuzzy(sources, quote))) == most


@given(st.sampled_from(range(20)), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_digit_is_never_changed_whatever_else_is(place: int, chance: random.Random) -> None:
    words = " ".join(LEASE.split()).split(" ")
    at = next(i for i, word in enumerate(words) if word == "(60)")
    start, end = max(0, at - 4 - place), at + 5 + place
    changed = [*words]
    changed[at] = f"({chance.choice([n for n in range(10, 99) if n != 60])})"
    slip = chance.choice([i for i in range(start, end) if i != at and len(words[i]) > 4])
    changed[slip] = changed[slip][:2] + changed[slip][3:]
    result = verify_quote(" ".join(changed[start:end]), PREPARED)
    assert isinstance(result, RejectedQuote)
