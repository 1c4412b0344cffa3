"""Which sentences of an answer the documents prove.

To judge a sentence takes a language model. Without a key the emulator says here what is written
below, one invented quote among it; the quotes are checked all the same.
"""

import json
import os

import httpx

from ai21_chains import ChatAI21, Emulator, create_grounding_check_chain
from ai21_chains.emulator import scripted

DOCUMENTS = [
    "Laptops are replaced every four years, telephones every three.",
    "Private USB sticks are not allowed. Company data stays on company systems.",
]
ANSWER = "Laptops are replaced every four years. USB sticks are allowed. Telephones cost 90 euros."
SCRIPT = {"1": ["Laptops are replaced every four years"], "2": ["USB sticks are allowed"], "3": []}


def main() -> None:
    model = ChatAI21() if os.environ.get("AI21_API_KEY") else emulated()
    report = create_grounding_check_chain(model).invoke({"answer": ANSWER, "documents": DOCUMENTS})

    for sentence in report.sentences:
        proof = [citation.quote for citation in sentence.citations] or "no proof"
        print(f"{sentence.text} -> {proof}")
    for quote in report.rejected:
        print(f"Rejected: {quote.quote!r}: {quote.message}")
    print(f"Support {report.support:.0%}, numbers without proof: {report.unsupported_numbers}")


def emulated() -> ChatAI21:
    transport = Emulator(brain=scripted(json.dumps(SCRIPT))).transport()
    return ChatAI21(api_key="no key needed", http_client=httpx.Client(transport=transport))


if __name__ == "__main__":
    main()
