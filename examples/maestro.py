"""Maestro: requirements on an answer and their scores, and a run that is picked up later."""

import os

import httpx

from ai21_chains import Emulator
from ai21_chains.errors import APITimeoutError
from ai21_chains.maestro import ChatMaestro, Requirement

REQUIREMENTS = [
    "At most 50 words.",
    Requirement(name="tone", description="Write for a child.", is_mandatory=True),
]


def sky(request: dict) -> str:
    return (
        "Sunlight has all colours in it. Air throws the blue ones about, so we see them all over."
    )


def maestro(**settings) -> ChatMaestro:
    """Return Maestro on AI21, or on the embedded emulator when there is no AI21_API_KEY."""
    if os.environ.get("AI21_API_KEY"):
        return ChatMaestro(**settings)
    http = httpx.Client(transport=Emulator(brain=sky, pending_looks=2).transport())
    return ChatMaestro(
        api_key="no key needed", http_client=http, poll_interval_sec=0.01, **settings
    )


def main() -> None:
    model = maestro(requirements=REQUIREMENTS, budget="low")

    try:
        message = model.invoke("Why is the sky blue?", poll_timeout_sec=0.005)
    except APITimeoutError as late:
        print(late)
        message = model.resume(late.run_id)

    print(message.content)
    for one in message.response_metadata["requirements_result"]["requirements"]:
        print(f"{one['name']}: {one['score']}")


if __name__ == "__main__":
    main()
