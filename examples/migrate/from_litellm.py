"""From LiteLLM: each old call in a comment, its new form below.

The proxy has a new form, too: `ai21-chains serve --config config.yaml` reads the same file.
"""

import asyncio

from studio import studio

# from litellm import acompletion, completion
from ai21_chains import ChatAI21, cost
from ai21_chains.errors import APIError


def main() -> None:
    messages = [{"role": "user", "content": "Name a port."}]

    # completion(model="ai21/jamba-mini", messages=messages): the prefix may stay
    chat = ChatAI21(model="ai21/jamba-mini")
    answer = chat.invoke(messages)

    # response["choices"][0]["message"]["content"], response["usage"]
    print(answer.content, answer.usage_metadata)

    # completion_cost(response): raised, or said 0, for AI21's models
    print(f"{cost(answer):.7f} USD")

    # completion(…, stream=True): chunk["choices"][0]["delta"]["content"]
    for chunk in chat.stream(messages):
        print(chunk.content, end="")
    print()

    # completion(…, top_p=0.9): refused for AI21 unless drop_params was set
    print(chat.invoke(messages, top_p=0.9, max_tokens=50).response_metadata["finish_reason"])

    # completion(…, num_retries=2, timeout=30, api_key=…, api_base=…)
    print(ChatAI21(model="ai21/jamba-large", max_retries=2, timeout=30).invoke(messages).content)

    # await acompletion(…), or batch_completion(…)
    print([one.content for one in asyncio.run(chat.abatch(["Name a port.", "Name a pier."]))])

    # except litellm.exceptions.APIError
    try:
        chat.invoke(messages)
    except APIError as error:
        print(error)


if __name__ == "__main__":
    with studio():
        main()
