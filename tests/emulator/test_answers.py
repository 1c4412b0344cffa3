"""The extractive brain answers from documents, with quotes that stand in them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from ai21_chains.emulator import Emulator, extractive
from tests.cases import each
from tests.emulator.doors import through_each_door

DOCUMENTS = [
    {
        "content": "# Returns\n\n- Refunds are granted within\n  30 days of purchase.\n"
        "- Items must be unused.",
        "metadata": {"title": "Shop policy"},
    },
    {
        "content": "Die Straße nach Zürich ist gesperrt. The road to Zürich is closed until May.",
        "metadata": [{"key": "title", "value": "Traffic"}],
    },
]
JSON = {"response_format": {"type": "json_object"}}
GROUNDED = 'Reply with one JSON object. Its keys: "found", "answer", "citations". Nothing else.'


def ask(text, system=None, **fields):
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    return extractive({"model": "jamba-mini", "messages": messages, **fields}).content


def test_an_answer_is_the_best_sentence_on_one_line():
    answer = ask("Within how many days are refunds granted?", documents=DOCUMENTS)

    assert answer == "Refunds are granted within 30 days of purchase."


def test_json_mode_with_documents_has_the_quote_as_it_stands_in_its_document():
    answer = ask("Within how many days are refunds granted?", documents=DOCUMENTS, **JSON)

    assert answer == (
        '{"found": true, "answer": "Refunds are granted within 30 days of purchase. [1]", '
        '"citations": [{"id": 1, "doc": 0, '
        '"quote": "- Refunds are granted within\\n  30 days of purchase."}]}'
    )


def test_characters_beyond_ascii_are_not_escaped():
    answer = ask("Is the road to Zürich closed?", documents=DOCUMENTS, **JSON)

    assert '"doc": 1, "quote": "The road to Zürich is closed until May."' in answer


@each("question", ["Who won the World Cup in 1998?", "What is quantum physics?"])
def test_what_the_documents_do_not_say_is_not_found(question):
    answer = ask(question, documents=DOCUMENTS, **JSON)

    assert answer == '{"found": false, "answer": "", "citations": []}'
    assert ask(question, documents=DOCUMENTS) == "The answer is not in the documents."


def test_the_sentence_for_no_answer_is_the_one_asked_for():
    system = 'Use the documents only. Otherwise say "Answer not in context".'

    assert ask("What is quantum physics?", system, documents=DOCUMENTS) == "Answer not in context"


def test_several_sentences_are_numbered_in_order():
    text = "Dogs bark at cats. Dogs bark at cars. The moon is far away."
    answer = json.loads(ask("What do dogs bark at?", documents=[{"content": text}], **JSON))

    assert answer["answer"] == "Dogs bark at cats. [1] Dogs bark at cars. [2]"
    assert [citation["id"] for citation in answer["citations"]] == [1, 2]


@each(
    "prompt",
    [
        "Documents:\n\n<document-1f doc=0 about={}>\nCats sleep all day.\n</document-1f>\n\n"
        "<document-1f doc=1 about={}>\nThe museum opens at ten.\n</document-1f>\n\n"
        "Question: When does the museum open?",
        "## Document ID: 0\nText: Cats sleep all day.\n\n## Document ID: 1\nThe museum opens at "
        "ten.\n</documents>\nQuestion: When does the museum open?",
        "Context:\nCats sleep. The museum opens at ten.\n\nQuestion: When does the museum open?",
        "<context>Cats sleep. The museum opens at ten.</context>\nWhen does the museum open?",
    ],
)
def test_documents_written_into_the_prompt_are_found(prompt):
    answer = json.loads(ask(prompt, GROUNDED, **JSON))

    assert answer["found"]
    assert answer["citations"][0]["quote"].endswith("The museum opens at ten.")
    assert "museum opens at ten" in ask(prompt)


def test_a_title_in_the_prompt_counts():
    prompt = (
        '<document-1 about={"title": "Travel"}>The limit is low.</document-1>'
        '<document-1 about={"title": "Insurance"}>The limit is high.</document-1>'
        "\n\nQuestion: What is the insurance limit?"
    )

    assert ask(prompt).startswith("The limit is high.")


def test_no_documents_at_all_are_no_answer_in_the_form_asked_for():
    assert json.loads(ask("When does it open?", GROUNDED, **JSON)) == {
        "found": False,
        "answer": "",
        "citations": [],
    }


def test_the_question_is_found_among_long_instructions():
    rules = "Be precise and do not invent anything.\n" * 15
    answer = ask(f"{rules}\nIs the road to Zürich closed?\n", documents=DOCUMENTS)

    assert answer.startswith("The road to Zürich is closed")


def test_a_schema_is_filled_with_words_of_the_documents():
    schema = {
        "properties": {
            "refund": {"type": "string", "description": "when refunds are granted"},
            "quotes": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["refund", "quotes"],
    }
    system = f"Fill in this JSON schema: {json.dumps(schema)}"
    answer = json.loads(ask("Extract it.", system, documents=DOCUMENTS, **JSON))

    assert answer["refund"] in DOCUMENTS[0]["content"]
    assert len(answer["quotes"]) == 1


def test_a_summary_is_made_of_the_first_sentences():
    text = "It began. It went on. It nearly ended. It ended."

    assert ask("Summarize the text.", documents=[{"content": text}]) == (
        "It began. It went on. It nearly ended."
    )


def test_a_question_to_be_rewritten_is_repeated():
    system = "Rewrite the follow-up question as a standalone question."

    assert ask("Follow-up question: And in May?", system) == "And in May?"


def test_without_documents_it_says_that_there_is_no_model():
    answer = ask("Hello")

    assert "emulator" in answer
    assert "without a language model" in answer
    assert ask("Hello") == answer


def test_a_conversation_without_a_user_is_answered_too():
    messages = [{"role": "system", "content": "Be kind."}]

    assert extractive({"model": "jamba-mini", "messages": messages}).content


@through_each_door
def test_documents_are_answered_from_through_every_door(door, chat):
    answer = door(Emulator())(chat("Is the road to Zürich closed?", documents=DOCUMENTS, **JSON))

    assert json.loads(answer.message["content"])["citations"][0]["doc"] == 1


@given(
    st.text(max_size=40),
    st.lists(st.text(alphabet=st.sampled_from("ab c. A\n-#|1é。"), max_size=80), max_size=3),
)
def test_every_quote_stands_in_the_document_it_names(question, contents):
    documents = [{"content": content} for content in contents]
    answer = json.loads(ask(question, GROUNDED, documents=documents, **JSON))

    assert list(answer) == ["found", "answer", "citations"]
    assert answer["found"] == bool(answer["citations"]) == bool(answer["answer"])
    assert all(entry["quote"] in contents[entry["doc"]] for entry in answer["citations"])
