"""Grounded answers in a conversation: follow-up questions are understood before the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, Unpack, overload

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, get_buffer_string
from langchain_core.runnables import Runnable

from ai21_chains.answers import GroundedAnswer, GroundedDict
from ai21_chains.chains._grounding import ABSTENTION, CONDENSE_INSTRUCTIONS, Order
from ai21_chains.chains._qa_input import (
    DocumentsIn,
    GroundedQAInput,
    OnUnverified,
    Options,
    Output,
)
from ai21_chains.chains._steps import Call, Chain, Model, Retriever, StepsTo
from ai21_chains.chains._windows import budget_for
from ai21_chains.chains.grounded_qa import GroundedQA
from ai21_chains.errors import ConfigurationError

__all__ = ["ConversationalQAInput", "create_conversational_qa_chain"]

Condense: TypeAlias = Literal["auto", "never"] | Runnable[Any, Any]

_TIMES_AS_LONG = 3
_LONG_ENOUGH = 200
"""A rewrite of so many characters is not too long, however short the question is."""


class ConversationalQAInput(GroundedQAInput):
    """What a conversational QA chain is asked; `chat_history` has the turns before.

    Attributes:
        question: The question.
        documents: What to answer from. Left out, the chain's retriever finds it.
        chat_history: Earlier turns of the conversation.
    """


@overload
def create_conversational_qa_chain(
    model: BaseChatModel | Model,
    *,
    retriever: Retriever,
    condense: Condense = "auto",
    output: Literal["model"] = "model",
    **options: Unpack[Options],
) -> Chain[GroundedAnswer]: ...
@overload
def create_conversational_qa_chain(
    model: BaseChatModel | Model,
    *,
    retriever: Retriever,
    condense: Condense = "auto",
    output: Literal["dict"],
    **options: Unpack[Options],
) -> Chain[GroundedDict]: ...
def create_conversational_qa_chain(
    model: BaseChatModel | Model,
    *,
    retriever: Retriever,
    condense: Condense = "auto",
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
    """Make a chain that answers the questions of a conversation from what a retriever finds.

    A follow-up such as "And in Berlin?" finds nothing by itself. So, when there is a history, the
    model first rewrites the question to one that stands alone, for the search only: the model
    answers the user's own question, with the history before it. `search_query` in the result shows
    the rewrite; it is never part of the answer's stream. Its request has the tag
    `condense_question`. The rewrite is not used when it is empty, or when it is over three times as
    long as the question and over 200 characters. Where documents come with the question nothing is
    searched for, and nothing rewritten.

    Args:
        model: Any chat model; see `create_grounded_qa_chain`.
        retriever: Finds documents for a question.
        condense: "auto" lets the model rewrite, "never" searches for the question as it is. A
            runnable gets a dict with `question`, `input` (the same) and `chat_history`, and returns
            the rewrite: a string or a message.
        top_k: The most documents that are read of what the retriever finds.
        documents_in: See `create_grounded_qa_chain`, as for all that follows.
        max_context_tokens: Tokens of documents in one request.
        order: What the model gives first.
        require_citation: Whether an answer without a single verified quote counts as none.
        on_unverified: What to do about quotes that no document has.
        abstain_message: The answer's text when the documents have no answer.
        prompt: What else the model is told about the answer.
        output: Whether the result is a `GroundedAnswer` or a plain dict. "dict" is the one for
            `RunnableWithMessageHistory`, with `output_messages_key="answer"`.

    Raises:
        ConfigurationError: An option is wrong. Raised by calls, when the question is empty or the
            input has another form.
        StructuredOutputError: Raised by calls with `on_unverified="raise"`; it names the quotes.
        AI21Error: Raised by calls with `ChatAI21`, as by the model itself.

    Example:
        >>> from ai21_chains import ChatAI21
        >>> from ai21_chains.emulator import Emulator
        >>> from langchain_core.runnables import RunnableLambda
        >>> import httpx
        >>> http = httpx.Client(transport=Emulator().transport())
        >>> model = ChatAI21(api_key="any", http_client=http)
        >>> search = RunnableLambda(lambda query: ["The museum opens at ten."])
        >>> chain = create_conversational_qa_chain(model, retriever=search)
        >>> history = [("human", "Is there a museum?"), ("ai", "Yes.")]
        >>> chain.invoke({"question": "When does it open?", "chat_history": history}).answer
        'The museum opens at ten. [1]'
    """
    if isinstance(condense, str) and condense not in ("auto", "never"):
        raise ConfigurationError(
            f'condense must be "auto", "never" or a runnable, got {condense!r}'
        )
    chain = ConversationalQA(
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
        condense=condense,
    )
    return chain.runnable()


@dataclass(frozen=True, kw_only=True)
class ConversationalQA(GroundedQA):
    """The steps of an answer in a conversation."""

    name: ClassVar[str] = "ConversationalQA"
    input_type: ClassVar[type[GroundedQAInput]] = ConversationalQAInput

    condense: Condense

    def search_query(self, asked: GroundedQAInput, calls: list[BaseMessage]) -> StepsTo[str]:
        """Rewrite a follow-up so that it can be searched for."""
        if self.condense == "never" or not asked.chat_history:
            return asked.question
        rewrite = yield self._condenser(asked)
        if isinstance(rewrite, BaseMessage):
            calls.append(rewrite)
            rewrite = rewrite.text
        if not isinstance(rewrite, str):
            kind = type(rewrite).__name__
            raise ConfigurationError(f"condense must return a string or a message, got {kind}")
        rewrite = " ".join(rewrite.split()).strip("\"“”'` ")
        longest = max(_TIMES_AS_LONG * len(asked.question), _LONG_ENOUGH)
        return rewrite if rewrite and len(rewrite) <= longest else asked.question

    def _condenser(self, asked: GroundedQAInput) -> Call:
        tags = ["condense_question"]
        question, history = asked.question, asked.chat_history
        if not isinstance(self.condense, str):
            value = {"question": question, "input": question, "chat_history": history}
            return Call(self.condense.with_config(tags=tags), value)
        # As a transcript: after messages of its own a model would go on and answer.
        turns = f"Conversation:\n{get_buffer_string(history)}\n\nFollow-up question: {question}"
        prompt = [SystemMessage(CONDENSE_INSTRUCTIONS), HumanMessage(turns)]
        return Call(self.model.with_config(tags=tags), prompt)
