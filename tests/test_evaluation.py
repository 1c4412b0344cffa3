"""An evaluation asks what it should, scores what came back, and survives what goes wrong."""

import contextvars
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import Runnable, RunnableLambda

from ai21_chains import AI21Error, ChatAI21, Emulator, GroundedAnswer, create_grounded_qa_chain
from ai21_chains.citations import verify_quote
from ai21_chains.emulator import scripted
from ai21_chains.errors import ConfigurationError, DocumentError
from ai21_chains.evaluation import (
    EvaluationQuestion,
    EvaluationReport,
    Evidence,
    Progress,
    evaluate_grounded_qa,
    evaluation_sets,
    load_evaluation_set,
)
from tests.cases import each

MILL = "The mill was built in 1562. It has two wheels. Its owner was a widow."
PORT = "Ships of the port pay 12 guilders a day. The port closes at night."
DOCUMENTS = [
    Document(MILL, id="mill", metadata={"title": "The mill"}),
    Document(PORT, id="port", metadata={"title": "The port"}),
]
BUILT = EvaluationQuestion(
    id="built",
    question="When was the mill built?",
    answerable=True,
    answers=["in 1562", "1562"],
    doc_ids=["mill"],
    evidence=[Evidence(doc_id="mill", start=0, end=27)],
)
FEE = EvaluationQuestion(
    id="fee",
    question="What do ships pay?",
    answerable=True,
    answers=["12 guilders a day"],
    doc_ids=["port"],
    evidence=[Evidence(doc_id="port", start=18, end=39)],
)
ROOF = EvaluationQuestion(
    id="roof", question="Who thatched the roof?", answerable=False, doc_ids=["mill"]
)
QUESTIONS = [BUILT, FEE, ROOF]

Asked = dict[str, Any]


def answering(
    reply: Callable[[Asked], GroundedAnswer | dict[str, Any]],
) -> Runnable[Any, Any]:
    return RunnableLambda(reply)


def answer(text: str, quote: str, documents: list[Document], **more: Any) -> GroundedAnswer:
    cited = verify_quote(quote, documents).model_copy(update={"id": 1})
    return GroundedAnswer(
        answer=text,
        answerable=True,
        status="answered",
        citations=[cited],
        support=1,
        documents=documents,
        **more,
    )


def perfect(asked: Asked) -> GroundedAnswer:
    documents = asked["documents"]
    if "built" in asked["question"]:
        return answer("In 1562 [1]", "The mill was built in 1562.", documents)
    if "ships" in asked["question"]:
        return answer("12 guilders a day [1].", PORT[18:39], documents)
    return GroundedAnswer(answer="Not there.", documents=documents)


def chat_model(brain: Any = "extractive") -> ChatAI21:
    http = httpx.Client(transport=Emulator(brain=brain).transport())
    return ChatAI21(api_key="any", max_retries=0, http_client=http)


def values(report: EvaluationReport) -> dict[str, float]:
    return {name: figure.value for name, figure in report.figures.items()}


def write_set(folder: Path, name: str = "tiny") -> Path:
    documents = [
        {"id": found.id, "text": found.page_content, "title": found.metadata["title"]}
        for found in DOCUMENTS
    ]
    lines = {"docs": documents, "questions": [question.model_dump() for question in QUESTIONS]}
    for kind, rows in lines.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}_{kind}.jsonl").write_text(text)
    return folder


# Scores


def test_a_perfect_chain_scores_1_in_every_share() -> None:
    report = evaluate_grounded_qa(answering(perfect), QUESTIONS, DOCUMENTS, documents_for="all")
    shares = {name: figure for name, figure in report.figures.items() if figure.unit == "share"}

    assert set(values(report)) > {"has_answer_exact", "no_answer_exact", "document_recall"}
    assert {name: figure.value for name, figure in shares.items()} == dict.fromkeys(shares, 1)
    assert (report.figures["character_f1"].n, report.figures["abstention_recall"].n) == (2, 1)
    assert not report.failures


def test_an_imperfect_chain_scores_what_a_hand_reckons() -> None:
    def chain(asked: Asked) -> GroundedAnswer:
        if "built" in asked["question"]:
            # 46 characters cited, 27 of them evidence: the first of two sentences.
            return answer("1562, two wheels [1].", MILL[:46], asked["documents"])
        if "ships" in asked["question"]:
            return GroundedAnswer(answer="Not there.", documents=asked["documents"])
        return answer("A widow [1].", "Its owner was a widow.", asked["documents"])

    figures = values(evaluate_grounded_qa(answering(chain), QUESTIONS, DOCUMENTS))

    assert figures["answer_exact"] == 0
    # "1562 two wheels" against "1562": F1 = 2 * 1 / (3 + 1); nothing for the other two.
    assert figures["answer_f1"] == pytest.approx(0.5 / 3)
    assert figures["has_answer_f1"] == pytest.approx(0.5 / 2)
    assert figures["has_answer_recall"] == pytest.approx(1 / 2)
    assert figures["abstention_precision"] == figures["abstention_recall"] == 0
    assert figures["right_choice"] == pytest.approx(1 / 3)
    assert figures["character_precision"] == pytest.approx(27 / 46)
    assert figures["character_recall"] == pytest.approx(1 / 2)
    assert figures["sentence_precision"] == pytest.approx(1 / 2)
    assert figures["number_support"] == 1
    assert "document_precision" not in figures
    assert "ndcg_at_10" not in figures


def test_a_citation_that_does_not_hold_is_not_verified() -> None:
    def chain(asked: Asked) -> GroundedAnswer:
        right = perfect(asked)
        moved = right.citations[0].model_copy(update={"start": 1})
        nowhere = right.citations[0].model_copy(update={"document_index": 7})
        return right.model_copy(update={"citations": [*right.citations, moved, nowhere]})

    report = evaluate_grounded_qa(answering(chain), [BUILT], DOCUMENTS)

    assert values(report)["verified_quotes"] == pytest.approx(1 / 3)
    assert report.items[0].citations == [("mill", 0, 27)]


def test_a_chunk_is_known_by_its_metadata_and_placed_in_its_document() -> None:
    told = Document(MILL[28:], id="chunk-1", metadata={"source": "mill", "start_index": 28})
    untold = Document(MILL[28:], metadata={"doc_id": "mill"})
    stranger = Document(MILL, metadata={"source": "elsewhere"})

    for chunk, place in ((told, ("mill", 28, 46)), (untold, ("mill", 28, 46))):
        chain = answering(lambda asked, chunk=chunk: answer("2 [1]", MILL[28:46], [chunk]))
        assert evaluate_grounded_qa(chain, [BUILT], DOCUMENTS).items[0].citations == [place]
    chain = answering(lambda asked: answer("2 [1]", MILL[:27], [stranger]))
    report = evaluate_grounded_qa(chain, [BUILT], DOCUMENTS)
    assert report.items[0].citations == [("?0", 0, 27)]
    assert values(report)["character_precision"] == 0


def test_a_passage_that_its_document_lacks_is_evidence_of_nothing() -> None:
    changed = Document("Another text.", id="mill")
    chain = answering(lambda asked: answer("2 [1]", "Another text.", [changed]))

    assert evaluate_grounded_qa(chain, [BUILT], DOCUMENTS).items[0].citations == [("?mill", 0, 13)]


def test_answers_may_come_as_dictionaries_from_a_served_chain() -> None:
    chain = answering(lambda asked: json.loads(perfect(asked).model_dump_json()))

    assert values(evaluate_grounded_qa(chain, QUESTIONS, DOCUMENTS))["answer_exact"] == 1


def test_the_emulator_answers_verifiably() -> None:
    chain = create_grounded_qa_chain(chat_model())
    report = evaluate_grounded_qa(chain, QUESTIONS, DOCUMENTS)

    assert values(report)["verified_quotes"] == values(report)["sentence_recall"] == 1
    assert report.figures["input_tokens"].value > 10
    assert report.model == "jamba-mini"


# What is asked


def test_questions_are_asked_with_what_documents_for_says() -> None:
    def given(documents_for: Any) -> list[str] | None:
        seen: list[Asked] = []

        def chain(asked: Asked) -> GroundedAnswer:
            seen.append(asked)
            return GroundedAnswer()

        evaluate_grounded_qa(answering(chain), [FEE], DOCUMENTS, documents_for=documents_for)
        found = seen[0].get("documents")
        return None if found is None else [document.id for document in found]

    assert given("relevant") == ["port"]
    assert given("all") == ["mill", "port"]
    assert given("chain") is None
    assert given(RunnableLambda(lambda query: DOCUMENTS[::-1])) == ["port", "mill"]


def test_the_history_of_a_conversation_goes_along() -> None:
    turns = [{"role": "user", "content": "The mill?"}, {"role": "assistant", "content": "Yes?"}]
    question = BUILT.model_copy(update={"history": turns})
    seen: list[Asked] = []

    def chain(asked: Asked) -> GroundedAnswer:
        seen.append(asked)
        return GroundedAnswer()

    evaluate_grounded_qa(answering(chain), [question], DOCUMENTS)

    assert [message.type for message in seen[0]["chat_history"]] == ["human", "ai"]


def test_a_retriever_that_is_passed_in_is_measured() -> None:
    chunks = [*DOCUMENTS[1:], Document("Unknown"), *DOCUMENTS[1:], *DOCUMENTS[:1]]
    retriever = RunnableLambda(lambda query: chunks, name="Shelf")
    report = evaluate_grounded_qa(answering(perfect), [BUILT], DOCUMENTS, documents_for=retriever)

    assert report.items[0].ranking == ["port", "?1", "mill"]
    assert values(report)["reciprocal_rank"] == pytest.approx(1 / 3)
    assert values(report)["ndcg_at_10"] == 0.5
    assert report.documents_for == "the documents that Shelf finds"


def test_a_chain_that_retrieves_is_measured_by_what_it_found() -> None:
    retriever = RunnableLambda(lambda query: DOCUMENTS[::-1])
    chain = create_grounded_qa_chain(chat_model(), retriever=retriever)
    report = evaluate_grounded_qa(chain, [BUILT, ROOF], DOCUMENTS, documents_for="chain")

    assert [item.ranking for item in report.items] == [["port", "mill"]] * 2
    assert values(report)["reciprocal_rank"] == 0.5
    assert values(report)["recall_at_5"] == 1


def test_the_sample_and_its_figures_do_not_depend_on_the_order() -> None:
    questions = [BUILT.model_copy(update={"id": f"q{number}"}) for number in range(40)]

    def chain(asked: Asked) -> GroundedAnswer:
        # A score of its own for every question, so that another sample has other figures.
        length = int(asked["chat_history"][0].content)
        return answer("1562" + " and" * length + " [1]", MILL[:27], asked["documents"])

    questions = [
        question.model_copy(update={"history": [{"role": "user", "content": question.id[1:]}]})
        for question in questions
    ]
    straight, reverse = (
        evaluate_grounded_qa(answering(chain), ordered, DOCUMENTS, limit=5, seed=3)
        for ordered in (questions, questions[::-1])
    )

    ids = [item.id for item in straight.items]
    assert ids == ["q7", "q15", "q25", "q27", "q39"]
    assert [item.id for item in reverse.items] == ids[::-1]
    assert straight.figures["answer_f1"] == reverse.figures["answer_f1"]
    assert straight.available == 40


def test_a_small_sample_is_part_of_a_larger_one_and_another_seed_of_none() -> None:
    questions = [BUILT.model_copy(update={"id": f"q{number}"}) for number in range(40)]

    def sample(limit: int, seed: int = 0) -> set[str]:
        chain = answering(perfect)
        report = evaluate_grounded_qa(chain, questions, DOCUMENTS, limit=limit, seed=seed)
        return {item.id for item in report.items}

    assert sample(5) < sample(10) < sample(99)
    assert sample(5) != sample(5, seed=1)


# What goes wrong


def test_a_failing_call_scores_0_and_the_run_goes_on() -> None:
    def chain(asked: Asked) -> GroundedAnswer:
        if asked["question"] == BUILT.question:
            raise OSError("no file\n  '/home/user/private/notes.txt'; see https://example.com/a/b")
        return perfect(asked)

    progress: list[Progress] = []
    report = evaluate_grounded_qa(
        answering(chain), QUESTIONS, DOCUMENTS, documents_for="all", on_progress=progress.append
    )

    assert [item.id for item in report.failures] == ["built"]
    assert report.failures[0].error == ("OSError: no file 'notes.txt'; see https://example.com/a/b")
    figures = values(report)
    assert figures["answer_exact"] == pytest.approx(2 / 3)
    halves = ("has_answer_f1", "character_precision", "sentence_recall", "document_f1", "support")
    assert {figures[name] for name in (*halves, "verified_quotes", "abstention_precision")} == {0.5}
    assert report.figures["latency_p50"].n == 2
    assert (progress[-1].done, progress[-1].total, progress[-1].failed) == (3, 3, 1)


def test_a_run_in_which_every_call_fails_scores_0_everywhere() -> None:
    def chain(asked: Asked) -> GroundedAnswer:
        raise ValueError("down")

    retriever = RunnableLambda(lambda query: DOCUMENTS)
    report = evaluate_grounded_qa(
        answering(chain), QUESTIONS, DOCUMENTS, documents_for=retriever, judge=chat_model()
    )

    assert len(report.failures) == 3
    assert set(values(report).values()) == {0}
    assert {"ndcg_at_10", "judged_answers", "abstention_recall"} < set(report.figures)


def test_what_is_no_grounded_answer_is_a_failure() -> None:
    report = evaluate_grounded_qa(RunnableLambda(lambda asked: 7), [BUILT], DOCUMENTS)

    assert "ValidationError" in (report.items[0].error or "")


def test_an_error_of_the_api_is_a_failure_with_its_words() -> None:
    chain = create_grounded_qa_chain(chat_model(scripted()))
    report = evaluate_grounded_qa(chain, [BUILT], DOCUMENTS)

    assert "no reply left" in (report.items[0].error or "")


def test_an_exception_in_on_progress_ends_the_run() -> None:
    asked: list[str] = []
    questions = [BUILT.model_copy(update={"id": f"q{number}"}) for number in range(50)]

    def chain(value: Asked) -> GroundedAnswer:
        asked.append(value["question"])
        return perfect(value)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    gate = threading.Event()
    started = answering(lambda value: (gate.wait(0.02), chain(value))[1])
    with pytest.raises(KeyboardInterrupt):
        evaluate_grounded_qa(started, questions, DOCUMENTS, max_concurrency=2, on_progress=stop)

    assert 1 <= len(asked) < 10


@each(
    ("arguments", "message"),
    [
        pytest.param({"limit": 0}, "limit must be at least 1, not 0", id="limit"),
        pytest.param({"max_concurrency": 0}, "max_concurrency must be at least 1", id="threads"),
        pytest.param({"documents_for": "gold"}, "must be one of relevant, all, chain", id="mode"),
        pytest.param({"questions": []}, "questions: at least one", id="no questions"),
        pytest.param({"questions": [FEE, FEE]}, "an id of its own", id="question twice"),
        pytest.param({"documents": [Document("x")]}, "documents: each needs an id", id="no id"),
        pytest.param({"documents": DOCUMENTS * 2}, "an id of its own", id="document twice"),
        pytest.param({"documents": DOCUMENTS[:1]}, "'fee': doc_ids: there is no", id="unknown"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_asked(
    arguments: dict[str, Any], message: str
) -> None:
    asked: list[Asked] = []
    call = {"questions": QUESTIONS, "documents": DOCUMENTS, **arguments}

    with pytest.raises(ConfigurationError, match=message):
        evaluate_grounded_qa(RunnableLambda(asked.append), **call)

    assert not asked


# Concurrency


def test_no_more_questions_than_max_concurrency_are_asked_at_once() -> None:
    both = threading.Barrier(2, timeout=5)
    running: set[int] = set()
    most: list[int] = []

    def chain(asked: Asked) -> GroundedAnswer:
        running.add(threading.get_ident())
        both.wait()  # two are inside at once, or this breaks
        most.append(len(running))
        return perfect(asked)

    questions = [BUILT.model_copy(update={"id": f"q{number}"}) for number in range(8)]
    report = evaluate_grounded_qa(answering(chain), questions, DOCUMENTS, max_concurrency=2)

    assert not report.failures
    assert max(most) == 2


def test_items_keep_the_order_of_the_questions() -> None:
    one_has_ended = threading.Event()
    ended: list[str] = []

    def chain(asked: Asked) -> GroundedAnswer:
        if asked["question"] == BUILT.question:
            one_has_ended.wait(5)
        return perfect(asked)

    def note(progress: Progress) -> None:
        ended.append(progress.item.id)
        one_has_ended.set()

    report = evaluate_grounded_qa(
        answering(chain),
        QUESTIONS[:2],
        DOCUMENTS,
        max_concurrency=2,
        on_progress=note,
    )

    assert ended == ["fee", "built"]
    assert [item.id for item in report.items] == ["built", "fee"]


def test_context_variables_reach_the_chain() -> None:
    user = contextvars.ContextVar("user", default="nobody")
    seen: list[str] = []
    user.set("ada")

    def chain(asked: Asked) -> GroundedAnswer:
        seen.append(user.get())
        return perfect(asked)

    evaluate_grounded_qa(answering(chain), [BUILT], DOCUMENTS)

    assert seen == ["ada"]


# The judge


def test_a_judge_reads_each_sentence_with_its_own_quotes() -> None:
    prompts: list[dict[str, Any]] = []

    def brain(request: dict[str, Any]) -> str:
        prompts.append(json.loads(request["messages"][-1]["content"]))
        return 'Well: {"entailed": ' + str("1562" in prompts[-1]["statement"]).lower() + "}"

    def chain(asked: Asked) -> GroundedAnswer:
        if asked["question"] == ROOF.question:
            return GroundedAnswer()
        text = "It dates from 1562 [1]. It is blue [1]. It is old."
        return answer(text, MILL[:27], asked["documents"])

    report = evaluate_grounded_qa(
        answering(chain), [BUILT, ROOF], DOCUMENTS, judge=chat_model(brain)
    )

    assert [prompt["quotes"] for prompt in prompts] == [[MILL[:27]]] * 2
    assert [entailed for _, entailed in report.items[0].judged or []] == [True, False, False]
    assert report.items[1].judged is None
    assert values(report)["judged_sentences"] == pytest.approx(1 / 3)
    assert values(report)["judged_answers"] == 0
    assert "## Judged by jamba-mini, not verified" in report.to_markdown()


def test_an_answer_without_a_sentence_has_no_verdict() -> None:
    chain = answering(lambda asked: GroundedAnswer(answer="[1]", answerable=True))
    report = evaluate_grounded_qa(chain, [BUILT], DOCUMENTS, judge=chat_model())

    assert report.items[0].judged == []
    assert "judged_answers" not in report.figures


def test_a_judge_that_fails_is_left_out_and_listed() -> None:
    judge = chat_model(scripted('{"entailed": true}', "I cannot say."))
    report = evaluate_grounded_qa(
        answering(perfect), [BUILT, FEE], DOCUMENTS, judge=judge, max_concurrency=1
    )

    assert report.figures["judged_answers"].n == 1
    assert values(report)["judged_answers"] == values(report)["answer_exact"] == 1
    assert [item.judge_error for item in report.items if item.judge_error] == [
        "StructuredOutputError: The judge's reply has no verdict"
    ]
    assert "failed verdicts, which are left out: 1" in report.to_markdown()


# The report


def test_the_report_is_markdown_with_what_was_measured_at_its_head() -> None:
    report = evaluate_grounded_qa(
        answering(perfect), QUESTIONS, DOCUMENTS, limit=2, seed=7, name="tiny", model="by hand"
    )
    text = report.to_markdown()

    assert text.startswith("# Grounded QA: tiny\n\n- Model: by hand\n- Questions: 2 of 3, seed 7\n")
    assert f"- ai21-chains {report.version}, {report.created:%Y-%m-%d}\n" in text
    assert "\n## Answers\n\n| figure | value | 95 % interval | n |\n|---|---:|---:|---:|\n" in text
    assert "Failed calls, which count as 0: 0" in text
    assert "## Failed" not in text
    assert "Judge" not in text


def test_failed_calls_are_listed_in_the_report() -> None:
    report = evaluate_grounded_qa(RunnableLambda(lambda asked: 1 // 0), [BUILT], DOCUMENTS)

    assert "## Failed calls\n\n- `built`: ZeroDivisionError: " in report.to_markdown()


def test_a_chain_without_a_model_has_an_unknown_one() -> None:
    assert evaluate_grounded_qa(answering(perfect), [BUILT], DOCUMENTS).model == "unknown"


def test_items_are_written_one_on_each_line(tmp_path: Path) -> None:
    report = evaluate_grounded_qa(answering(perfect), QUESTIONS, DOCUMENTS)
    report.write_jsonl(tmp_path / "items.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]

    assert [row["id"] for row in rows] == ["built", "fee", "roof"]
    assert rows[0]["citations"] == [["mill", 0, 27]]
    # The figures can be reckoned again from the lines.
    parts = [row["parts"]["answer_f1"] for row in rows]
    assert sum(a for a, _ in parts) / sum(b for _, b in parts) == values(report)["answer_f1"]


def test_a_report_survives_json() -> None:
    report = evaluate_grounded_qa(answering(perfect), QUESTIONS, DOCUMENTS)

    assert EvaluationReport.model_validate_json(report.model_dump_json()) == report


# Files


def test_a_set_is_read_from_its_files(tmp_path: Path) -> None:
    found = load_evaluation_set(write_set(tmp_path))

    assert (found.name, found.questions) == ("tiny", QUESTIONS)
    assert [document.id for document in found.documents] == ["mill", "port"]
    assert found.documents[0].metadata == {"doc_id": "mill", "title": "The mill"}
    report = evaluate_grounded_qa(answering(perfect), found.questions, found.documents)
    assert values(report)["answer_exact"] == 1


def test_documents_may_lie_in_several_files_with_odd_ends(tmp_path: Path) -> None:
    write_set(tmp_path)
    first, second = (tmp_path / "tiny_docs.jsonl").read_bytes().splitlines()
    (tmp_path / "tiny_docs.jsonl").unlink()
    (tmp_path / "tiny_docs_1.jsonl").write_bytes(b"\xef\xbb\xbf" + first + b"\r\n\r\n")
    (tmp_path / "tiny_docs_2.jsonl").write_bytes(second)

    assert [found.id for found in load_evaluation_set(tmp_path).documents] == ["mill", "port"]


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    write_set(tmp_path)
    row = json.dumps({"id": "sep", "text": "one\u2028two\x85three"}, ensure_ascii=False)
    (tmp_path / "tiny_docs_2.jsonl").write_text(row, encoding="utf-8")

    assert load_evaluation_set(tmp_path).documents[-1].page_content == "one\u2028two\x85three"


def test_a_folder_of_several_sets_needs_a_name(tmp_path: Path) -> None:
    write_set(write_set(tmp_path), "other[1]")

    assert evaluation_sets(tmp_path) == ["other[1]", "tiny"]
    assert load_evaluation_set(tmp_path, "other[1]").name == "other[1]"
    with pytest.raises(ConfigurationError, match=r"name one of other\[1\], tiny"):
        load_evaluation_set(tmp_path)
    with pytest.raises(DocumentError, match=r"no nine_questions.jsonl \(there are: other"):
        load_evaluation_set(tmp_path, "nine")


def test_an_empty_or_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DocumentError, match=r"no NAME_questions\.jsonl$"):
            load_evaluation_set(folder)


def test_a_set_without_documents_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "tiny_docs.jsonl").write_text("\n")

    with pytest.raises(DocumentError, match=r"no documents in tiny_docs\.jsonl"):
        load_evaluation_set(tmp_path)


def test_a_set_whose_file_cannot_be_read_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "tiny_docs_2.jsonl").mkdir()

    with pytest.raises(DocumentError, match=r"tiny_docs_2\.jsonl: the file cannot be read"):
        load_evaluation_set(tmp_path)


@each(
    ("change", "message"),
    [
        pytest.param({"id": 7}, "line 3: id: Input should be a valid string", id="type"),
        pytest.param({"answerable": "yes"}, "line 3: answerable: Input should be", id="no bool"),
        pytest.param({"question": ""}, "line 3: question: String should have", id="empty"),
        pytest.param({"id": "fee"}, "line 3: id: 'fee' was there before", id="twice"),
        pytest.param({"doc_ids": ["x"]}, "line 3: doc_ids: there is no document 'x'", id="doc"),
        pytest.param(
            {"evidence": [{"doc_id": "x", "start": 0, "end": 1}]},
            r"line 3: evidence\.0\.doc_id: there is no document 'x'",
            id="evidence of no document",
        ),
        pytest.param(
            {"evidence": [{"doc_id": "mill", "start": 9, "end": 999}]},
            r"line 3: evidence\.0: 9 to 999 is no stretch of 'mill', which has 69 characters",
            id="evidence beyond the text",
        ),
        pytest.param(
            {"evidence": [{"doc_id": "mill", "start": 9}]},
            r"line 3: evidence\.0\.end: Field required",
            id="missing",
        ),
    ],
)
def test_a_broken_question_is_refused_with_its_line_and_key(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_set(tmp_path)
    path = tmp_path / "tiny_questions.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], json.dumps(json.loads(lines[2]) | change)]))

    with pytest.raises(AI21Error, match=r"tiny_questions\.jsonl, " + message) as refused:
        load_evaluation_set(tmp_path)
    assert "\n" not in str(refused.value)


@each(
    ("line", "message"),
    [
        pytest.param(b'{"id": "x"', "line 3: Invalid JSON", id="cut off"),
        pytest.param(b"[1]", "line 3: Input should be an object", id="a list"),
        pytest.param(b'{"id": "x", "text": "\xff"}', "line 3: Invalid JSON", id="not UTF-8"),
        pytest.param(b'{"id": "x"}', "line 3: text: Field required", id="no text"),
        pytest.param(b'{"id": "mill", "text": ""}', "line 3: id: 'mill' was there", id="twice"),
    ],
)
def test_a_broken_document_is_refused_with_its_line(
    tmp_path: Path, line: bytes, message: str
) -> None:
    write_set(tmp_path)
    with (tmp_path / "tiny_docs.jsonl").open("ab") as file:
        file.write(line)

    with pytest.raises(DocumentError, match=r"tiny_docs\.jsonl, " + message):
        load_evaluation_set(tmp_path)
