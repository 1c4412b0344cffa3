"""AI21's retired Contextual Answers: a context and a question in; plain text out."""

from __future__ import annotations

import re
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, Field

from ai21_chains._claims import MARK
from ai21_chains.answers import GroundedAnswer
from ai21_chains.chains._input import AnyDocuments, read_input
from ai21_chains.chains._steps import Chain, Model
from ai21_chains.chains.grounded_qa import create_grounded_qa_chain

__all__ = ["ContextualAnswers", "ContextualAnswersInput", "create_contextual_answers_chain"]

NOT_IN_CONTEXT = "Answer not in context"
"""What AI21's endpoint answered when the context had no answer."""

_MARKS = re.compile(rf" ?(?:{MARK.pattern})")


class ContextualAnswersInput(BaseModel):
    """What a contextual answers chain is asked.

    Attributes:
        context: What to answer from: a text, or texts and documents.
        question: The question.
    """

    context: str | AnyDocuments
    question: str = Field(min_length=1, pattern=r"\S")


class ContextualAnswers(Runnable[Any, str]):
    """A runnable that answers with text: the answer, or that the context has none.

    Args:
        answers: A grounded QA chain.
        answer_not_in_context: What it says when no quote of an answer could be verified.
    """

    def __init__(self, answers: Chain[GroundedAnswer], answer_not_in_context: str) -> None:
        self.name = "ContextualAnswers"
        self._answers = answers
        self._otherwise = answer_not_in_context

    @property
    def InputType(self) -> type[ContextualAnswersInput]:
        """The type of the input; a dict will do as well."""
        return ContextualAnswersInput

    @property
    def OutputType(self) -> type[str]:
        """Text."""
        return str

    def invoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        response_if_no_answer_found: str | None = None,
        **kwargs: Any,
    ) -> str:
        """Answer the question; the keyword is the retired class's, for one call."""

        def run(value: Any, run_manager: object, config: RunnableConfig) -> str:
            answer = self._answers.invoke(_asked(value), config)
            return _text(answer, response_if_no_answer_found or self._otherwise)

        return self._call_with_config(run, input, config)

    async def ainvoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        response_if_no_answer_found: str | None = None,
        **kwargs: Any,
    ) -> str:
        """Answer the question; the keyword is the retired class's, for one call."""

        async def run(value: Any, run_manager: object, config: RunnableConfig) -> str:
            answer = await self._answers.ainvoke(_asked(value), config)
            return _text(answer, response_if_no_answer_found or self._otherwise)

        return await self._acall_with_config(run, input, config)


def _asked(value: Any) -> dict[str, Any]:
    asked = read_input("ContextualAnswers", ContextualAnswersInput, value)
    context = [asked.context] if isinstance(asked.context, str) else asked.context
    return {"question": asked.question, "documents": context}


def _text(answer: GroundedAnswer, otherwise: str) -> str:
    return _MARKS.sub("", answer.answer).strip() if answer.answerable else otherwise


def create_contextual_answers_chain(
    model: BaseChatModel | Model, *, answer_not_in_context: str = NOT_IN_CONTEXT
) -> ContextualAnswers:
    """Make a chain that answers from a context with text, as AI21's Contextual Answers did.

    An answer counts only if a quote that proves it was found in the context. Whoever wants to see
    the quotes takes `create_grounded_qa_chain`, of which this is a thin cover.

    `invoke` takes a dict with `context` (a text, or a list of texts and documents) and `question`.

    Args:
        model: Any chat model.
        answer_not_in_context: What the chain says when the context has no answer.

    Raises:
        ConfigurationError: Raised by calls, when `context` or `question` is missing or has another
            form.
        AI21Error: Raised by calls with `ChatAI21`, as by the model itself.

    Example:
        >>> from ai21_chains import ChatAI21
        >>> from ai21_chains.emulator import Emulator
        >>> import httpx
        >>> http = httpx.Client(transport=Emulator().transport())
        >>> chain = create_contextual_answers_chain(ChatAI21(api_key="any", http_client=http))
        >>> chain.invoke({"context": "The museum opens at ten.", "question": "When does it open?"})
        'The museum opens at ten.'
    """
    return ContextualAnswers(create_grounded_qa_chain(model), answer_not_in_context)
