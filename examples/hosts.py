"""The same code on whichever place serves Jamba: only the host and the model's id change."""

import os

import httpx

from ai21_chains import ChatAI21, Emulator
from ai21_chains.hosts import Bedrock, Nvidia, SelfHosted, Vertex


def model_where_it_is_served() -> ChatAI21:
    """Return a model on the first host that the environment says something of.

    Credentials are not mentioned: each host's are found where its own tools find them.
    """
    if region := os.environ.get("AWS_REGION"):
        return ChatAI21(model="ai21.jamba-1-5-mini-v1:0", host=Bedrock(region=region))
    if project := os.environ.get("GOOGLE_CLOUD_PROJECT"):
        return ChatAI21(model="jamba-1.5-mini@001", host=Vertex(project=project))
    if os.environ.get("NVIDIA_API_KEY"):
        return ChatAI21(model="ai21labs/jamba-1.5-mini-instruct", host=Nvidia())
    if url := os.environ.get("VLLM_BASE_URL"):
        return ChatAI21(model="jamba", host=SelfHosted(base_url=url))
    # No server at all: the embedded emulator in the place of one's own.
    return ChatAI21(
        model="jamba-mini",
        host=SelfHosted(base_url="http://localhost:8000/v1", api_key="any"),
        http_client=httpx.Client(transport=Emulator().transport()),
    )


def main() -> None:
    model = model_where_it_is_served()
    print(f"{model.model} on {model.host.name}:")

    for piece in model.stream("Name three uses of a paper clip."):
        print(piece.text, end="", flush=True)
    print()

    usage = model.invoke("And one more?").usage_metadata
    print(f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out")


if __name__ == "__main__":
    main()
