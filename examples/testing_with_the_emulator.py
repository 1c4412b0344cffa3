"""Test a program of yours without a network: script the model's answers, and its failures."""

import httpx

from ai21_chains import ChatAI21, Emulator
from ai21_chains.emulator import Fault, scripted


def main() -> None:
    emulator = Emulator(
        brain=scripted("It is a port.", "About 280,000."),
        faults=[Fault(status=429, headers={"Retry-After": "0"}, times=1)],
    )
    http = httpx.Client(transport=emulator.transport())
    model = ChatAI21(api_key="test", http_client=http)

    print(model.invoke("What is Haifa?").content)
    print(model.invoke("How many people live there?").content)

    # The first try was answered with 429 and sent again.
    print(f"{len(emulator.requests)} requests: {emulator.requests[0].json['messages']}")


if __name__ == "__main__":
    main()
