"""Chains over HTTP, for `langserve.RemoteRunnable`, curl and the like.

`uvicorn serve_chains:app` serves them; http://127.0.0.1:8000/chains/qa/input_schema says what the
first one takes.
"""

import json

from common import chat_model
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from ai21_chains import create_grounded_qa_chain, create_summarize_chain
from ai21_chains.serving import chain_routes

model = chat_model(temperature=0)
chains = {"qa": create_grounded_qa_chain(model), "summary": create_summarize_chain(model)}
app = Starlette(routes=[Mount("/chains", routes=chain_routes(chains, max_batch=20))])

DOCUMENTS = ["The museum opens at ten.", "Dogs must stay outside."]


def main() -> None:
    client = TestClient(app)  # in this process; others send the same to a server
    asked = {"question": "When does it open?", "documents": DOCUMENTS}

    with client.stream("POST", "/chains/qa/stream", json={"input": asked}) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                print(json.loads(line.removeprefix("data: ")).get("answer", ""), end="")
    print()

    # Rows of a batch can fail alone: the second has nothing to answer from.
    rows = {"inputs": [asked, {"question": "Why?"}], "return_exceptions": True}
    batch = client.post("/chains/qa/batch", json=rows).json()
    print(batch["output"][0]["citations"][0]["quote"])
    print(batch["errors"])


if __name__ == "__main__":
    main()
