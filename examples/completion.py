"""Text in, text out: a prompt template before a completion model, and many prompts at once."""

import os

import httpx
from langchain_core.prompts import PromptTemplate

from ai21_chains import AI21Error, Emulator
from ai21_chains.llms import AI21LLM


def completion_model(**settings) -> AI21LLM:
    """Return a model on AI21, or on the embedded emulator when there is no AI21_API_KEY."""
    if os.environ.get("AI21_API_KEY"):
        return AI21LLM(**settings)
    http_client = httpx.Client(transport=Emulator().transport())
    return AI21LLM(api_key="no key needed", http_client=http_client, **settings)


def main() -> None:
    llm = completion_model(model="jamba-mini", max_tokens=60)
    slogan = PromptTemplate.from_template("Write a slogan for {product}:") | llm

    for piece in slogan.stream({"product": "a bakery"}):
        print(piece, end="", flush=True)
    print()

    products = [{"product": name} for name in ("a bicycle shop", "a library", "a zoo")]
    for answer in slogan.batch(products, return_exceptions=True):
        print("failed:" if isinstance(answer, AI21Error) else "-", answer)

    result = llm.generate(["One more thing:"])
    print(result.generations[0][0].generation_info["finish_reason"], result.llm_output)


if __name__ == "__main__":
    main()
