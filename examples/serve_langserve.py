"""A chain on LangServe, with a page to try it on.

`uvicorn serve_langserve:app` serves it; the page is http://127.0.0.1:8000/qa/playground/, and in
another program `RemoteRunnable("http://127.0.0.1:8000/qa")` is the chain.
"""

from common import chat_model
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ai21_chains import create_grounded_qa_chain
from ai21_chains.serving import add_ai21_routes

app = FastAPI(title="Answers with citations")
chain = create_grounded_qa_chain(chat_model(temperature=0))
add_ai21_routes(app, chain, path="/qa", playground=True)

DOCUMENTS = ["The museum opens at ten.", "Dogs must stay outside."]


def main() -> None:
    client = TestClient(app)  # in this process; others send the same to a server
    asked = {"question": "When does it open?", "documents": DOCUMENTS}

    answer = client.post("/qa/invoke", json={"input": asked}).json()["output"]
    print(answer["answer"])
    for citation in answer["citations"]:
        print(f"[{citation['id']}] {citation['quote']!r}")

    refused = client.post("/qa/invoke", json={"input": {"documents": DOCUMENTS}})
    print(refused.status_code, refused.json()["detail"][0]["msg"])


if __name__ == "__main__":
    main()
