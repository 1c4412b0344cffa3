"""Labels for texts, each with the passage that is the reason; a batch of them at once.

Rules cannot classify: without a key the answers of the emulator are scripted below.
"""

import json
import os

import httpx

from ai21_chains import ChatAI21, Emulator, create_classification_chain

LABELS = {
    "refund": "The writer wants money back.",
    "defect": "Something does not work.",
    "delivery": "A delivery is late, lost or damaged.",
}
MAILS = {
    "The grinder stopped after two days. I want my money back.": {
        "refund": "I want my money back.",
        "defect": "The grinder stopped after two days.",
    },
    "My parcel is five days late.": {"delivery": "My parcel is five days late."},
    "What are your opening hours?": {},
}


def scripted_answer(request: dict) -> str:
    answer = MAILS[request["documents"][0]["content"]]
    return json.dumps({"labels": [{"label": k, "quote": v} for k, v in answer.items()]})


def main() -> None:
    if os.environ.get("AI21_API_KEY"):
        model = ChatAI21(temperature=0)
    else:
        http = httpx.Client(transport=Emulator(brain=scripted_answer).transport())
        model = ChatAI21(api_key="none needed", http_client=http)
    chain = create_classification_chain(model, LABELS, multi_label=True)

    for mail, result in zip(MAILS, chain.batch(list(MAILS)), strict=True):
        print(mail)
        for label in result.labels:
            print(f"- {label}: {result.reasons(label)[0].quote!r}")


if __name__ == "__main__":
    main()
