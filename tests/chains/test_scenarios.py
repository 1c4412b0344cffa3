"""Documents as they are, and replies as models give them: right offsets, no error, no lost answer.

What a single reply comes to is in test_reply.py; documents beyond the window are in
test_evidence.py. Here both go through the chain.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
from langchain_core.documents import Document

from ai21_chains import ChatAI21, GroundedAnswer, create_grounded_qa_chain
from ai21_chains.emulator import Emulator, Reply
from tests.cases import each

QUESTION = "How long does it last?"


def said(answer: str, *quotes: str) -> str:
    citations = [{"id": n, "doc": 0, "quote": quote} for n, quote in enumerate(quotes, start=1)]
    return json.dumps({"found": True, "citations": citations, "answer": answer})


def ask(reply: Any, documents: list[Document], **options: Any) -> GroundedAnswer:
    """Ask invoked and streamed, see that the answers are equal and the offsets right."""
    emulator = Emulator(brain=lambda request: reply)
    with httpx.Client(transport=emulator.transport()) as client:
        chain = create_grounded_qa_chain(ChatAI21(api_key="k", http_client=client), **options)
        asked = {"question": QUESTION, "documents": documents}
        answer = chain.invoke(asked)
        first, *rest = chain.stream(asked)
    # Tokens that were streamed are not learnt from, so that windows may differ.
    same = {"usage": None}
    streamed = GroundedAnswer.model_validate(sum(rest, first))
    assert streamed.model_copy(update=same) == answer.model_copy(update=same)
    for citation in answer.citations:
        text = answer.documents[citation.document_index].page_content
        assert text[citation.start : citation.end] == citation.quote
        span = slice(citation.answer_start, citation.answer_end)
        assert citation.answer_start is None or f"[{citation.id}]" in answer.answer[span]
    return answer


# What the document says, and how the model quotes it.
KINDS = {
    "plain": ("The term is 3 years.", "The term is 3 years."),
    "Hebrew": ("תקופת האחריות היא 3 שנים.", "תקופת האחריות היא 3 שנים."),
    "Hebrew with marks of direction": ("תקופה \u200f(3 שנים)\u200e תמה", "תקופה (3 שנים) תמה"),
    "Hebrew with points": ("הַתְּקוּפָה הִיא 3 שָׁנִים.", "הַתְּקוּפָה הִיא 3 שָׁנִים."),
    "Arabic": ("مدة الضمان 3 سنوات.", "مدة الضمان 3 سنوات."),
    "Arabic in presentation forms": ("ﻣﺪﺓ ﺍﻟﻀﻤﺎﻥ 3 سنوات", "مدة الضمان 3 سنوات"),
    "Persian with joiners": ("مدت می\u200cشود 3 سال است.", "مدت می\u200cشود 3 سال است."),
    "emoji": ("Lasts 👩🏽\u200d🔬 3 years ❤️ or so.", "Lasts 👩🏽\u200d🔬 3 years ❤️ or so."),
    "combining characters": ("Die Ma\u0308ngelfrist la\u0308uft ab.", "Die Mängelfrist läuft ab."),
    "composed, quoted in parts": ("Die Mängelfrist läuft.", "Die Ma\u0308ngelfrist la\u0308uft."),
    "line ends of Windows": ("The term\r\nis 3\r\nyears.", "The term is 3 years."),
    "line ends of old Macs": ("The term\ris 3 years.", "The term\nis 3 years."),
    "ligatures": ("The oﬃce ﬁles last 3 years.", "The office files last 3 years."),
    "line-end hyphen": ("The term of dura-\ntion is 3 years.", "The term of duration is 3 years."),
    "soft hyphen": ("The dura\u00adtion is 3 years.", "The duration is 3 years."),
    "no-break spaces": ("The term is 3\u00a0years\u202fexactly.", "The term is 3 years exactly."),
    "curly quotes and dashes": ("The “Term” – 3 years’ time.", "The \"Term\" - 3 years' time."),
    "straight, quoted curly": ("The \"Term\" - 3 years' time.", "The “Term” – 3 years’ time."),
    "full width": ("Ｔｈｅ　ｔｅｒｍ　ｉｓ　３　ｙｅａｒｓ", "The term is 3 years"),
    "Chinese": ("保修期为三年。請保留收據。", "保修期为三年。"),
    "letters that grow": ("DIE STRAẞE UND İSTANBUL 3 JAHRE", "DIE STRAẞE UND İSTANBUL 3 JAHRE"),
    "beyond the basic plane": ("𝒯𝒽𝑒 𝓉𝑒𝓇𝓂 3 years 𠮷野", "The term 3 years 𠮷野"),
    "byte order mark": ("\ufeffThe term is 3 years.", "The term is 3 years."),
    "control tokens": ("The <|eom|> </documents> is 3.", "The <|eom|> </documents> is"),
}  # fmt: skip


@each("way", ["request", "prompt"])
@each(("source", "quote"), KINDS.values(), ids=KINDS)
def test_a_quote_is_found_at_its_place_in_any_kind_of_text(
    source: str, quote: str, way: str
) -> None:
    before = "Für alles 🎉 Übrige\r\ngilt (ﬁnal): e\u0301t\u0301.\n\n"
    document = Document(f"{before}{source}\r\n\r\nEnd. 🎉", metadata={"start_index": 100})

    answer = ask(
        said("It lasts 3 years [1].", quote), [Document("Other."), document], documents_in=way
    )

    assert (answer.status, answer.rejected) == ("answered", [])
    (citation,) = answer.citations
    assert citation.document_index == 1
    assert citation.source_start == 100 + citation.start
    assert len(before) <= citation.start <= len(before) + 1
    assert citation.end <= len(before) + len(source)


@each(("source", "quote"), KINDS.values(), ids=KINDS)
def test_a_quote_is_found_in_the_windows_of_a_long_text(source: str, quote: str) -> None:
    filler = "Nichts – “davon” gilt hier. 🎉\r\n" * 40
    document = Document(f"{filler}{source}\r\n{filler}")

    answer = ask(said("It lasts 3 years [1].", quote), [document], max_context_tokens=300)

    (citation,) = answer.citations
    assert len(filler) <= citation.start < citation.end <= len(filler) + len(source)


@each("way", ["request", "prompt"])
@each("claimed", [0, 42, 59, 60, -1, "42", None])
def test_the_one_true_document_of_sixty_is_cited(way: str, claimed: Any) -> None:
    documents = [
        Document(f"Model {n}: the warranty lasts {n + 2} months.", metadata={"page": n}, id=str(n))
        for n in range(60)
    ]
    citation = {"id": 1, "doc": claimed, "quote": "the warranty lasts 44 months"}
    reply = json.dumps(
        {"found": True, "citations": [citation], "answer": "It lasts 44 months [1]."}
    )

    answer = ask(reply, documents, documents_in=way)

    (cited,) = answer.citations
    assert (cited.document_index, cited.document_id, cited.page) == (42, "42", 42)
    assert (answer.status, len(answer.documents)) == ("answered", 60)


def test_half_an_object_is_what_was_said_so_far_and_truncated() -> None:
    whole = said("It lasts 3 years [1]. Then it ends [1].", "The term is 3 years.")
    documents = [Document("The term is 3 years.")]
    for end in range(0, len(whole), 3):
        answer = ask(Reply(content=whole[:end], finish_reason="length"), documents)

        assert answer.status == "truncated"
        assert "It lasts 3 years [1]. Then it ends [1].".startswith(answer.answer)


REPLIES = {
    "quote of the question": said("It lasts long [1].", QUESTION),
    "quote of the prompt": said("It lasts long [1].", "Reply with one JSON object and nothing"),
    "quote of nothing": said("It lasts long [1].", " ", "", "…"),
    "invented": said("It lasts long [1].", "The term is a hundred years."),
    "negated": said("It lasts long [1].", "The term is not 3 years."),
    "no citations": json.dumps({"found": True, "answer": "It lasts long [1]."}),
    "prose": "It lasts long [1].",
}


@each("rule", ["drop", "keep", "repair"])
@each("reply", REPLIES.values(), ids=REPLIES)
def test_an_answer_that_nothing_proves_is_kept_and_called_unverified(reply: str, rule: str) -> None:
    answer = ask(reply, [Document("The term is 3 years.")], on_unverified=rule)

    assert answer.answer.startswith("It lasts long")
    assert (answer.status, answer.answerable, answer.citations) == ("unverified", False, [])
