"""Documents and a question in; an answer out whose quotes were checked against the documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Unpack, overload

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables.utils import AddableDict

from ai21_chains.answers import GroundedAnswer, GroundedDict, Status
from ai21_chains.chains._evidence import Evidence, gather
from ai21_chains.chains._grounding import (
    ABSTENTION,
    EVIDENCE_INSTRUCTIONS,
    Order,
    correction,
    for_prompt,
    for_request,
    instructions,
    takes_documents,
)
from ai21_chains.chains._input import read_document
from ai21_chains.chains._qa_input import (
    DocumentsIn,
    GroundedQAInput,
    OnUnverified,
    Options,
    Output,
    check_options,
    joined,
    nothing_to_answer_from,
    read_question,
    without_repetition,
)
from ai21_chains.chains._reply import Reply
from ai21_chains.chains._steps import (
    Ask,
    Chain,
    Model,
    Retrieve,
    Retriever,
    Steps,
    StepsTo,
    usage_of,
)
from ai21_chains.chains._windows import budget_for, counter_for
from ai21_chains.citations import RejectedQuote
from ai21_chains.errors import StructuredOutputError

__all__ = ["GroundedQAInput", "create_grounded_qa_chain"]


@overload
def create_grounded_qa_chain(
    model: BaseChatModel | Model,
    *,
    retriever: Retriever | None = None,
    output: Literal["model"] = "model",
    **options: Unpack[Options],
) -> Chain[GroundedAnswer]: ...
@overload
def create_grounded_qa_chain(
    model: BaseChatModel | Model,
    *,
    retriever: Retriever | None = None,
    output: Literal["dict"],
    **options: Unpack[Options],
) -> Chain[GroundedDict]: ...
def create_grounded_qa_chain(
    model: BaseChatModel | Model,
    *,
    retriever: Retriever | None = None,
    top_k: int | None = None,
    documents_in: DocumentsIn = "auto",
    max_context_tokens: int | None = None,
    order: Order = "evidence_first",
    require_citation: bool = True,
    on_unverified: OnUnverified = "drop",
    abstain_message: str = ABSTENTION,
    prompt: str | None = None,
    output: Output = "model",
) -> Chain[Any]:
    """Make a chain that answers questions from documents and proves what it says.

    The model must copy its evidence out of the documents. Each quote is looked up there, character
    by character; only what is found is cited, and where it stands is taken from the document, not
    from the model. Documents without an answer are a status, not prose.

    `invoke` takes a question, or a dict with `question` (or `input`), `documents` and
    `chat_history`, and returns a `GroundedAnswer`. `stream` yields dicts to be added up: the
    documents, pieces of the answer, and at the end everything else.

    Documents that are too many or too long for one request are read in windows, all at once (as
    many as the configuration's `max_concurrency` allows), and the question is answered from the
    verified quotes that the model finds in them. Offsets are in the documents all the same.
    Nothing is left out. These requests have the tag `gather_evidence`.

    Args:
        model: Any chat model. `ChatAI21` gets the documents in the request, where Jamba was
            trained to find them; others find them in the prompt.
        retriever: Finds documents for a question that comes without. Chunks of a source that
            overlap or touch, by `source` and `start_index`, are joined before they are read.
        top_k: The most documents that are read of what the retriever finds, the best first; from 1
            on. None reads all. Documents that come with the question are all read.
        documents_in: Where the model finds the documents: "request" (the `documents` parameter),
            "prompt", or "auto" for the request if the model has that parameter.
        max_context_tokens: Tokens of documents in one request, at least 100. None means 64,000, or
            half of the model's window if that is less.
        order: What the model gives first. With "evidence_first" the quotes are verified before the
            first word of the answer is streamed; with "answer_first" the words come sooner, up to
            the first citation.
        require_citation: Whether an answer without a single verified quote counts as none.
        on_unverified: What to do about quotes that no document has. All but "raise" list them in
            `rejected`. "drop" takes their marks out of the answer; "keep" shows them as such: in
            their place stands [unverified 1], for the first in `rejected`, and the status is
            "partly" at the best; "raise" raises an error before a word is streamed; "repair" asks
            the model once to correct them and keeps what was verified before, so that the answer
            is streamed only when its quotes are checked. Wrong quotes of a window are listed, or
            raise; they are not asked for again.
        abstain_message: The answer's text when the documents have no answer.
        prompt: What else the model is told about the answer: its length, tone or audience. The
            documents are not part of it.
        output: "dict" returns and streams a plain dict that has `input` for the question and
            `context` for the documents, as LangChain's `create_retrieval_chain` does.

    Raises:
        ConfigurationError: An option is wrong; it is named. Also raised by calls, when the question
            is empty, the input has another form, or there are neither documents nor a retriever.
        StructuredOutputError: Raised by calls with `on_unverified="raise"`; it names the quotes.
        AI21Error: Raised by calls with `ChatAI21`, as by the model itself.

    Example:
        >>> from ai21_chains import ChatAI21, create_grounded_qa_chain
        >>> from ai21_chains.emulator import Emulator
        >>> import httpx
        >>> http = httpx.Client(transport=Emulator().transport())
        >>> chain = create_grounded_qa_chain(ChatAI21(api_key="any", http_client=http))
        >>> documents = ["The museum opens at ten.", "Dogs must stay outside."]
        >>> answer = chain.invoke({"question": "When does it open?", "documents": documents})
        >>> answer.citations[0].quote
        'The museum opens at ten.'
    """
    chain = GroundedQA(
        model=model,
        retriever=retriever,
        top_k=top_k,
        documents_in=documents_in,
        budget=budget_for(model, max_context_tokens),
        order=order,
        require_citation=require_citation,
        on_unverified=on_unverified,
        abstain_message=abstain_message,
        prompt=prompt,
        output=output,
    )
    return chain.runnable()


@dataclass(frozen=True, kw_only=True)
class GroundedQA:
    """The steps of an answer from documents."""

    name: ClassVar[str] = "GroundedQA"
    input_type: ClassVar[type[GroundedQAInput]] = GroundedQAInput

    model: Model
    retriever: Retriever | None
    top_k: int | None
    documents_in: DocumentsIn
    budget: int
    order: Order
    require_citation: bool
    on_unverified: OnUnverified
    abstain_message: str
    prompt: str | None
    output: Output

    def __post_init__(self) -> None:
        check_options(vars(self))

    def runnable(self) -> Chain[Any]:
        """Return the chain."""
        output_type = GroundedDict if self.output == "dict" else GroundedAnswer
        return Chain(self.name, self.steps, self.input_type, output_type)

    def steps(self, value: Any) -> Steps:
        """Answer one question."""
        asked = read_question(value, self.input_type, self.name)
        calls: list[BaseMessage] = []
        query: str | None = None
        if asked.documents is not None:
            documents = without_repetition(map(read_document, asked.documents))
        elif self.retriever is not None:
            query = yield from self.search_query(asked, calls)
            found = yield Retrieve(self.retriever, query)
            documents = joined(without_repetition(map(read_document, found or ()))[: self.top_k])
        else:
            raise nothing_to_answer_from(value, self.name)
        if self.output == "dict":
            yield AddableDict(input=asked.question, search_query=query, context=documents)
        else:
            yield AddableDict(search_query=query, documents=documents)
        if documents:
            yield from self._answer(asked, documents, calls)
        else:
            yield self._nothing("no_documents", calls)

    def search_query(self, asked: GroundedQAInput, calls: list[BaseMessage]) -> StepsTo[str]:
        """Decide what to search for.

        Args:
            asked: The question.
            calls: Where the messages of the model are kept.
        """
        yield from ()
        return asked.question

    def _answer(
        self, asked: GroundedQAInput, documents: Sequence[Document], calls: list[BaseMessage]
    ) -> Steps:
        def ask(part: Sequence[Document]) -> Ask:
            return self._ask(part, EVIDENCE_INSTRUCTIONS, asked, tags=["gather_evidence"])

        evidence = yield from gather(documents, self.budget, counter_for(self.model), ask)
        calls += evidence.calls
        self._check(evidence.rejected)
        if not len(evidence.shown):
            status: Status = "truncated" if evidence.cut else "not_found"
            yield self._nothing(status, calls, evidence.rejected)
            return
        yield from self._reply(asked, evidence, calls)
        yield AddableDict(rejected=evidence.rejected, usage=usage_of(calls))

    def _reply(self, asked: GroundedQAInput, evidence: Evidence, calls: list[BaseMessage]) -> Steps:
        reply = self._reader(evidence)
        told = instructions(self.order, self.prompt)
        question = self._ask(evidence.shown.documents, told, asked, reply=reply)
        message = yield question
        calls.append(message)
        reply.end()
        self._check(reply.rejected, reply)
        if self.on_unverified == "repair" and reply.rejected:
            again = self._reader(evidence, before=reply)
            corrected = yield self._corrected(question, reply, again, asked)
            calls.append(corrected)
            again.end()
            # A correction that proves nothing does not replace what proved something.
            if again.proven or not reply.proven:
                reply, message = again, corrected
        yield from reply.close(message, cut=evidence.cut)

    def _reader(self, evidence: Evidence, before: Reply | None = None) -> Reply:
        return Reply(
            evidence.shown,
            require_citation=self.require_citation,
            abstention=self.abstain_message,
            patient=self.on_unverified in ("raise", "repair"),
            keep=self.on_unverified == "keep",
            before=before,
        )

    def _check(self, rejected: Sequence[RejectedQuote], reply: Reply | None = None) -> None:
        if self.on_unverified == "raise" and rejected:
            quotes = "; ".join(f"{quote.quote!r} ({quote.message})" for quote in rejected)
            raise StructuredOutputError(
                f"{self.name}: the model quoted what no document says: {quotes}",
                llm_output=reply.text if reply else None,
            )

    def _nothing(
        self, status: Status, calls: list[BaseMessage], rejected: Sequence[RejectedQuote] = ()
    ) -> AddableDict:
        nothing = GroundedAnswer(
            answer=self.abstain_message,
            status=status,
            rejected=list(rejected),
            usage=usage_of(calls),
        )
        given = ("documents", "search_query")
        return AddableDict({name: value for name, value in nothing if name not in given})

    def _ask(
        self,
        documents: Sequence[Document],
        told: str,
        asked: GroundedQAInput,
        *,
        reply: Reply | None = None,
        tags: Sequence[str] = (),
    ) -> Ask:
        model, question = self.model, asked.question
        if self._in_request():
            model = model.bind(
                documents=for_request(documents), response_format={"type": "json_object"}
            )
        else:
            # Documents first, the question last: long contexts are read better in this order.
            question = f"{for_prompt(documents)}\n\nQuestion: {question}"
        model = model.with_config(tags=list(tags)) if tags else model
        messages = [SystemMessage(told), *asked.chat_history, HumanMessage(question)]
        return Ask(model, messages, reply.read) if reply else Ask(model, messages)

    def _corrected(self, first: Ask, reply: Reply, again: Reply, asked: GroundedQAInput) -> Ask:
        request = HumanMessage(correction(reply.rejected, asked.question))
        return Ask(first.model, [*first.messages, AIMessage(reply.text), request], again.read)

    def _in_request(self) -> bool:
        if self.documents_in == "auto":
            return takes_documents(self.model)
        return self.documents_in == "request"
