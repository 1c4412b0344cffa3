"""Many questions at once; one that fails does not lose the others."""

import asyncio

from common import chat_model

from ai21_chains import AI21Error


async def main() -> None:
    model = chat_model(max_retries=3)
    questions = ["Name a river.", "Name a mountain.", "Name a lake."]

    answers = await model.abatch(questions, {"max_concurrency": 50}, return_exceptions=True)

    for question, answer in zip(questions, answers, strict=True):
        if isinstance(answer, AI21Error):
            print(f"{question} failed: {answer}")
        else:
            print(f"{question} {answer.content} ({answer.usage_metadata['total_tokens']} tokens)")


if __name__ == "__main__":
    asyncio.run(main())
