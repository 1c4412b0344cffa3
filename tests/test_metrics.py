"""Each figure of an evaluation agrees with what a hand or a textbook reckons."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai21_chains.answers import GroundedAnswer
from ai21_chains.citations import Citation, RejectedQuote
from ai21_chains.evaluation._metrics import (
    FIGURES,
    Overlap,
    Part,
    Passages,
    abstention_parts,
    answer_parts,
    answer_score,
    claim_parts,
    document_parts,
    estimate_quantile,
    estimate_ratios,
    evidence_parts,
    failed_parts,
    figures,
    ndcg,
    normalized_answer,
    overlap_parts,
    quantile,
    ranking_parts,
    recall_at,
    reciprocal_rank,
    sentence_spans,
    touched,
)
from tests.cases import each

words = st.lists(st.sampled_from(["ten", "the", "Museum", "opens", "at", "1,562", "o'clock"]))
texts = words.map(" ".join)
ids = st.sets(st.sampled_from("abcdefgh"))
rankings = st.lists(st.sampled_from("abcdefgh"), unique=True)


def total(rows: list[dict[str, Part]], name: str) -> float:
    parts = [row[name] for row in rows if name in row]
    return sum(part[0] for part in parts) / sum(part[1] for part in parts)


# Answers


@each(
    ("text", "normal"),
    [
        pytest.param("The Cat", "cat", id="article and case"),
        pytest.param("a  an\tthe\nanthem", "anthem", id="articles only as words"),
        pytest.param("U.S. $1,562.50!", "us 156250", id="punctuation is removed, not spaced"),
        pytest.param("well-known", "wellknown", id="hyphen"),
        pytest.param("“Genève”", "“genève”", id="only ASCII punctuation, as in the script"),
        pytest.param("a.n apple", "apple", id="punctuation goes before articles"),
        pytest.param(" ", "", id="nothing"),
    ],
)
def test_answers_are_normalised_as_by_the_official_script(text: str, normal: str) -> None:
    assert normalized_answer(text) == normal


@each(
    ("answer", "golds", "exact", "f1", "recall"),
    [
        pytest.param("1562", ["1562"], 1, 1, 1, id="the same"),
        pytest.param("The 1562.", ["1562"], 1, 1, 1, id="the same when normalised"),
        # 2 shared words of 4 and of 3: P = 1/2, R = 2/3, F1 = 4/7.
        pytest.param("w x y z", ["x y q"], 0, 4 / 7, 2 / 3, id="a part"),
        # "x" is shared once, not twice: P = 1/2, R = 1/1.
        pytest.param("x x", ["x"], 0, 2 / 3, 1, id="words count as often as they occur"),
        pytest.param("x", ["q r", "x y", "x"], 1, 1, 1, id="the best gold answer"),
        pytest.param("x", ["q"], 0, 0, 0, id="nothing shared"),
        pytest.param("", ["q"], 0, 0, 0, id="abstained wrongly"),
        pytest.param("", [], 1, 1, 1, id="abstained rightly"),
        pytest.param("x", [], 0, 0, 0, id="should have abstained"),
        pytest.param("", ["the", "..."], 1, 1, 1, id="gold answers without a word are none"),
    ],
)
def test_answer_scores_are_those_of_squad(
    answer: str, golds: list[str], exact: float, f1: float, recall: float
) -> None:
    assert answer_score(answer, golds) == pytest.approx((exact, f1, recall))


@given(texts, texts)
def test_answer_scores_are_shares_and_f1_knows_no_sides(one: str, other: str) -> None:
    score, swapped = answer_score(one, [other]), answer_score(other, [one])

    assert all(0 <= value <= 1 for value in score)
    assert score.exact <= score.f1 <= 1
    assert score.f1 == pytest.approx(swapped.f1)
    assert answer_score(one, [one]) == (1, 1, 1)
    # The recall of the swapped pair is the precision, and F1 is the harmonic mean of the two.
    if score.f1:
        assert score.f1 == pytest.approx(statistics.harmonic_mean([score.recall, swapped.recall]))


def test_answers_are_split_by_whether_there_is_one() -> None:
    assert answer_parts(True, ["x y"], "x") == {
        "answer_exact": (0, 1),
        "answer_f1": (2 / 3, 1),
        "has_answer_exact": (0, 1),
        "has_answer_f1": (2 / 3, 1),
        "has_answer_recall": (0.5, 1),
    }
    assert answer_parts(False, ["I do not know"], "") == {
        "answer_exact": (1, 1),
        "answer_f1": (1, 1),
        "no_answer_exact": (1, 1),
    }


def test_a_failed_answer_scores_0_even_where_none_is_right() -> None:
    assert set(answer_parts(False, [], None).values()) == {(0, 1)}
    assert set(answer_parts(True, ["x"], None).values()) == {(0, 1)}


def test_a_question_whose_answer_is_not_known_has_no_answer_figures() -> None:
    assert answer_parts(True, [], "x") == {}


# Abstention


def test_abstention_figures_are_those_of_a_binary_classifier() -> None:
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
    outcomes = [(False, True)] * 3 + [(True, True)] + [(False, False)] * 2 + [(True, False)] * 4
    rows = [abstention_parts(answerable, abstained) for answerable, abstained in outcomes]

    assert total(rows, "abstention_precision") == 3 / 4
    assert total(rows, "abstention_recall") == 3 / 5
    assert total(rows, "abstention_f1") == pytest.approx(statistics.harmonic_mean([3 / 4, 3 / 5]))
    assert total(rows, "right_choice") == 7 / 10


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_swapping_gold_and_prediction_swaps_precision_and_recall(
    outcomes: list[tuple[bool, bool]],
) -> None:
    straight = [abstention_parts(not gold, said) for gold, said in outcomes]
    swapped = [abstention_parts(not said, gold) for gold, said in outcomes]

    for name in ("abstention_precision", "abstention_recall"):
        other = {"abstention_precision": "abstention_recall"}.get(name, "abstention_precision")
        if any(name in row for row in straight):
            assert total(straight, name) == total(swapped, other)
            assert total(straight, "abstention_f1") == total(swapped, "abstention_f1")


# Evidence


def test_an_overlap_has_precision_recall_and_f1() -> None:
    overlap = Overlap.of([1, 2, 3, 3], [3, 4])

    assert (overlap.precision, overlap.recall, overlap.f1) == (1 / 3, 1 / 2, 2 / 5)


def test_an_overlap_with_nothing_has_no_share_of_it() -> None:
    assert (Overlap.of([], [1]).precision, Overlap.of([], [1]).f1) == (None, 0)
    assert (Overlap.of([1], []).recall, Overlap.of([1], []).f1) == (None, 0)
    assert Overlap.of([], []).f1 is None


@given(ids, ids)
def test_swapped_sets_swap_precision_and_recall(found: set[str], wanted: set[str]) -> None:
    straight, swapped = Overlap.of(found, wanted), Overlap.of(wanted, found)
    shares = [straight.precision, straight.recall, straight.f1]

    assert all(0 <= share <= 1 for share in shares if share is not None)
    assert (straight.precision, straight.f1) == (swapped.recall, swapped.f1)
    if straight.shared:
        harmonic = statistics.harmonic_mean([straight.precision or 0, straight.recall or 0])
        assert straight.f1 == pytest.approx(harmonic)


def test_an_undefined_share_adds_nothing_and_a_failure_adds_zeros() -> None:
    assert overlap_parts("x", Overlap(0, 0, 4)) == {"x_recall": (0, 1), "x_f1": (0, 1)}
    assert overlap_parts("x", None) == {
        "x_precision": (0, 1),
        "x_recall": (0, 1),
        "x_f1": (0, 1),
    }


@each(
    ("text", "split"),
    [
        pytest.param("One. Two! Three", ["One.", "Two!", "Three"], id="stops"),
        pytest.param('He said "No." Then left.', ['He said "No."', "Then left."], id="quotes"),
        pytest.param("Costs 3.50 a day.", ["Costs 3.50 a day."], id="a stop inside a number"),
        pytest.param("TITLE\n\nText\nflows on.", ["TITLE", "Text\nflows on."], id="empty line"),
        pytest.param("一。二！", ["一。", "二！"], id="without spaces"),
        pytest.param("  \n ", [], id="nothing"),
        pytest.param("End \n", ["End"], id="trailing space"),
    ],
)
def test_documents_are_split_into_sentences(text: str, split: list[str]) -> None:
    assert [text[start:end].strip() for start, end in sentence_spans(text)] == split


@given(st.text(st.sampled_from("ab .!\n\r。"), max_size=60))
def test_sentences_cover_every_character_but_white_space(text: str) -> None:
    spans = sentence_spans(text)
    inside = {offset for start, end in spans for offset in range(start, end)}

    assert spans == sorted(spans)
    assert sum(end - start for start, end in spans) == len(inside)
    assert all(offset in inside for offset, char in enumerate(text) if not char.isspace())


def test_a_span_touches_the_sentences_it_shares_a_letter_with() -> None:
    text = "One. Two. Three."
    sentences = sentence_spans(text)

    assert touched(text, sentences, [(0, 4)]) == {0}
    assert touched(text, sentences, [(2, 6)]) == {0, 1}
    assert touched(text, sentences, [(3, 5)]) == set()  # a full stop and a space
    assert touched(text, sentences, [(8, 9), (10, 11)]) == {2}
    assert touched("  x", sentence_spans("  x"), [(0, 3)]) == {0}


def test_evidence_is_compared_by_characters_and_by_sentences() -> None:
    text = "Aaaa bbbb. Cccc dddd. Eeee ffff."
    passages = Passages({"d": text})
    # Cited: the first two sentences (21 characters). Gold: four characters of each of the last two.
    parts = evidence_parts(passages, [("d", 0, 21)], [("d", 11, 15), ("d", 22, 26)])

    assert parts["character_precision"] == (4 / 21, 1)
    assert parts["character_recall"] == (4 / 8, 1)
    assert parts["character_f1"] == (8 / 29, 1)
    assert parts["sentence_precision"] == parts["sentence_recall"] == (0.5, 1)


def test_overlapping_passages_count_once_and_documents_are_kept_apart() -> None:
    passages = Passages({"d": "Aaaa bbbb.", "e": "Aaaa bbbb."})
    twice = evidence_parts(passages, [("d", 0, 10), ("d", 0, 10)], [("d", 0, 6), ("d", 4, 10)])
    other = evidence_parts(passages, [("e", 0, 10)], [("d", 0, 10)])

    assert set(twice.values()) == {(1, 1)}
    assert set(other.values()) == {(0, 1)}


def test_a_passage_of_an_unknown_document_is_a_wrong_one() -> None:
    passages = Passages({"d": "Aaaa."})
    parts = evidence_parts(passages, [("?", 0, 5), ("d", 0, 5)], [("d", 0, 5)])

    assert parts["character_precision"] == parts["sentence_precision"] == (0.5, 1)


def test_failed_evidence_is_0_and_without_gold_there_is_none() -> None:
    passages = Passages({"d": "Aaaa."})

    assert set(evidence_parts(passages, None, [("d", 0, 4)]).values()) == {(0, 1)}
    assert len(evidence_parts(passages, None, [("d", 0, 4)])) == 6
    assert evidence_parts(passages, [("d", 0, 4)], []) == {}


def test_cited_documents_are_compared_with_the_relevant_ones() -> None:
    cited = [("a", 0, 1), ("a", 5, 6), ("b", 0, 1)]

    assert document_parts(cited, ["a", "c", "d"]) == {
        "document_precision": (1 / 2, 1),
        "document_recall": (1 / 3, 1),
        "document_f1": (2 / 5, 1),
    }
    assert document_parts(None, ["a"])["document_f1"] == (0, 1)
    assert document_parts(cited, []) == {}


# Retrieval


def test_ndcg_is_that_of_the_textbook() -> None:
    # Relevant at ranks 1 and 3 of three relevant: (1 + 1/2) / (1 + 1/log2(3) + 1/2).
    assert ndcg("axb", {"a", "b", "c"}) == pytest.approx(1.5 / (1.5 + 1 / math.log2(3)))
    assert ndcg("xa", {"a"}) == pytest.approx(1 / math.log2(3))
    assert ndcg("xxxa", {"a"}, k=3) == 0
    # With more relevant ones than fit, the ideal is cut at k as well.
    assert ndcg("ab", set("abcd"), k=2) == 1
    assert ndcg([], {"a"}) == 0


def test_recall_and_reciprocal_rank_are_those_of_the_textbook() -> None:
    assert recall_at("xaby", {"a", "b", "c"}, 2) == 1 / 3
    assert recall_at("xaby", {"a", "b", "c"}, 4) == 2 / 3
    assert reciprocal_rank("xxa", {"a", "b"}) == 1 / 3
    assert reciprocal_rank("xx", {"a"}) == 0


@given(rankings, ids.filter(bool))
def test_retrieval_figures_are_shares_and_perfect_for_a_perfect_ranking(
    ranking: list[str], relevant: set[str]
) -> None:
    perfect = sorted(relevant) + [key for key in ranking if key not in relevant]

    assert all(0 <= value <= 1 for value, _ in ranking_parts(ranking, relevant).values())
    assert ndcg(perfect, relevant) == pytest.approx(1)
    assert recall_at(perfect, relevant, 10) == reciprocal_rank(perfect, relevant) == 1
    assert ndcg(ranking, relevant) <= ndcg(perfect, relevant) + 1e-9


def test_a_question_without_relevant_documents_has_no_retrieval_figures() -> None:
    assert ranking_parts(["a"], set()) == {}


# Claims


def citation(quote: str) -> Citation:
    return Citation(document_index=0, quote=quote, start=0, end=len(quote), match="exact")


def test_an_answer_adds_its_quotes_support_numbers_and_tokens() -> None:
    rejected = RejectedQuote(quote="9", reason="not_found", message="No.")
    answer = GroundedAnswer(
        answer="From 1562 to 1598, 36 years: 1598.",
        answerable=True,
        citations=[citation("1562"), citation("1598")],
        rejected=[rejected],
        support=0.5,
        unsupported_numbers=["36"],
        usage={"input_tokens": 70, "output_tokens": 7, "total_tokens": 77},
    )

    assert claim_parts(answer, verified=1) == {
        "verified_quotes": (1, 3),
        "support": (0.5, 1),
        "number_support": (2, 3),
        "input_tokens": (70, 1),
        "output_tokens": (7, 1),
    }


def test_an_abstention_claims_nothing() -> None:
    assert claim_parts(GroundedAnswer(answer="There are 3 documents without it."), 0) == {}


def test_a_failure_costs_what_an_answer_would_have_earned() -> None:
    assert failed_parts(True, judged=False) == {"verified_quotes": (0, 1), "support": (0, 1)}
    assert "judged_answers" in failed_parts(True, judged=True)
    assert failed_parts(False, judged=True) == {}


# Estimates


@given(st.lists(st.floats(-1e6, 1e6), min_size=2))
def test_quantiles_are_those_of_the_standard_library(values: list[float]) -> None:
    quarters = statistics.quantiles(values, n=4, method="inclusive")

    assert [quantile(values, share) for share in (0.25, 0.5, 0.75)] == pytest.approx(quarters)
    assert (quantile(values, 0), quantile(values, 1)) == (min(values), max(values))


def test_the_quantile_of_one_value_is_the_value() -> None:
    assert quantile([3.0], 0.95) == 3
    assert estimate_quantile([3.0], 0.95, seed=0) == (3, 3, 3, 1)


def test_a_figure_is_the_ratio_of_the_sums() -> None:
    rows: list[dict[str, Part]] = [{"q": (1, 4)}, {"q": (2, 2)}, {"other": (1, 1)}, {"q": (0, 0)}]
    estimates = estimate_ratios(rows, seed=0)

    assert estimates["q"].value == 3 / 6
    assert estimates["q"].n == 2
    assert 0.25 <= estimates["q"].low <= estimates["q"].high <= 1


def test_an_interval_is_about_that_of_the_normal_approximation() -> None:
    # 300 of 1,000 questions right: 0.3 ± 1.96 * sqrt(0.3 * 0.7 / 1000) = 0.3 ± 0.0284.
    rows: list[dict[str, Part]] = [{"x": (float(i < 300), 1)} for i in range(1000)]
    estimate = estimate_ratios(rows, seed=1)["x"]

    assert (estimate.value, estimate.n) == (0.3, 1000)
    assert estimate.low == pytest.approx(0.3 - 0.0284, abs=0.006)
    assert estimate.high == pytest.approx(0.3 + 0.0284, abs=0.006)


def test_what_one_question_adds_stays_together_in_the_draws() -> None:
    # The same 20 quotes: from 2 questions they tell less than from 20.
    torn: list[dict[str, Part]] = [{"x": (float(i < 10), 1)} for i in range(20)]
    together: list[dict[str, Part]] = [{"x": (10, 10)}, {"x": (0, 10)}]
    narrow, wide = (estimate_ratios(rows, seed=0)["x"] for rows in (torn, together))

    assert narrow.value == wide.value == 0.5
    assert narrow.high - narrow.low < wide.high - wide.low == 1


def test_the_seed_decides_the_interval() -> None:
    chance = random.Random(3)
    rows: list[dict[str, Part]] = [{"x": (chance.random(), 1)} for _ in range(30)]

    assert estimate_ratios(rows, seed=1) == estimate_ratios(rows, seed=1)
    assert estimate_ratios(rows, seed=1) != estimate_ratios(rows, seed=2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_estimates_of_shares_are_shares(pairs: list[tuple[int, int]]) -> None:
    rows: list[dict[str, Part]] = [{"x": (min(pair), max(pair))} for pair in pairs]
    estimates = estimate_ratios(rows, seed=0)

    assert bool(estimates) == any(max(pair) for pair in pairs)
    for estimate in estimates.values():
        assert 0 <= estimate.low <= estimate.high <= 1
        assert 0 <= estimate.value <= 1


def test_no_questions_have_no_figures() -> None:
    assert estimate_ratios([], seed=0) == {}
    assert figures([], [], seed=0) == {}


def test_a_rare_figure_has_an_interval_although_most_draws_miss_it() -> None:
    rows: list[dict[str, Part]] = [{"x": (1, 1)}, *({"y": (1, 1)} for _ in range(50))]

    assert estimate_ratios(rows, seed=0)["x"] == (1, 1, 1, 1)


def test_figures_come_in_the_order_of_the_table_with_their_units() -> None:
    rows: list[dict[str, Part]] = [{"output_tokens": (1234, 1), "answer_f1": (0.5, 1)}]
    reckoned = figures(rows, [0.25], seed=0)

    assert list(reckoned) == ["answer_f1", "latency_p50", "latency_p95", "output_tokens"]
    assert list(reckoned) == [name for name in FIGURES if name in reckoned]
    assert reckoned["answer_f1"].row == ("| SQuAD F1, all questions | 50.0% | 50.0% to 50.0% | 1 |")
    assert "| 0.250 s |" in reckoned["latency_p50"].row
    assert "| 1,234 |" in reckoned["output_tokens"].row
