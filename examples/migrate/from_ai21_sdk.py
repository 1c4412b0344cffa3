"""From the `ai21` SDK: each old call in a comment, its new form below."""

import asyncio

from studio import studio

# from ai21 import AI21Client, AsyncAI21Client
# from ai21.models.chat import ChatMessage
from ai21_chains import ChatAI21
from ai21_chains.errors import APIError, RateLimitError


def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"Sunny in {city}."


async def later(chat: ChatAI21) -> None:
    # await AsyncAI21Client().chat.completions.create(model=…, messages=[…])
    print((await chat.ainvoke("Name a port.")).content)


def main() -> None:
    # client = AI21Client(api_key=…, api_host=…, timeout_sec=60, num_retries=2)
    chat = ChatAI21(model="jamba-mini", timeout=60, max_retries=2)

    # client.chat.completions.create(model="jamba-mini", messages=[ChatMessage(role="user", …)])
    answer = chat.invoke(
        [{"role": "user", "content": "Name a port."}], temperature=0, max_tokens=50
    )

    # response.choices[0].message.content, response.usage.total_tokens
    print(answer.content, answer.usage_metadata["total_tokens"])

    # for chunk in client.chat.completions.create(…, stream=True): chunk.choices[0].delta.content
    for chunk in chat.stream("Name two ports."):
        print(chunk.content, end="")
    print()

    # create(…, tools=[Tool(function=FunctionToolDefinition(…))]), message.tool_calls[0].function
    print(chat.bind_tools([get_weather]).invoke("Weather in Haifa?").tool_calls)

    # create(…, documents=[DocumentSchema(content=…)])
    print(chat.invoke("When is it open?", documents=["The pier opens at 8."]).content)

    # except ai21.errors.TooManyRequestsError
    try:
        chat.invoke("Hi")
    except RateLimitError as error:
        print(error.retry_after)
    except APIError as error:
        print(error)

    asyncio.run(later(chat))


if __name__ == "__main__":
    with studio():
        main()
