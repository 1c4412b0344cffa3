"""What `ai21_chains` exports, and that importing it costs nothing."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import ai21_chains
from tests.cases import each

PUBLIC = [
    "AI21LLM",
    "AI21Error",
    "BM25Retriever",
    "ChatAI21",
    "ChatMaestro",
    "Citation",
    "Emulator",
    "GroundedAnswer",
    "RejectedQuote",
    "__version__",
    "add_ai21_routes",
    "cost",
    "create_app",
    "create_classification_chain",
    "create_contextual_answers_chain",
    "create_conversational_qa_chain",
    "create_extraction_chain",
    "create_grounded_qa_chain",
    "create_grounding_check_chain",
    "create_summarize_chain",
    "evaluate_grounded_qa",
    "load_documents",
    "register_with_langchain",
    "verify_quote",
]


def test_the_public_names_are_these() -> None:
    assert ai21_chains.__all__ == PUBLIC
    assert dir(ai21_chains) == sorted(PUBLIC)


@each("name", PUBLIC)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(ai21_chains, name)

    assert value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ChatGPT'"):
        _ = ai21_chains.ChatGPT


def test_the_package_imports_nothing_until_a_name_is_used() -> None:
    code = "import sys, ai21_chains; print([m for m in sys.modules if m.startswith('langchain')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


HEAVY = {
    "bm25s",
    "numpy",
    "Stemmer",
    "typer",
    "starlette",
    "sqlalchemy",
    "botocore",
    "google.auth",
    "pypdfium2",
    "rapidfuzz",
    "ai21_chains.emulator",
    "ai21_chains.cli",
}
LOADED = f"""
import sys
import ai21_chains.chat_models, ai21_chains.hosts as hosts
print(*[name for name in sys.modules if name.startswith("ai21_chains.hosts.")])
hosts.Bedrock(region="us-east-1"), hosts.Vertex(project="p")
from ai21_chains import ChatAI21
import ai21_chains.documents, ai21_chains.retrievers
print(*{HEAVY} & sys.modules.keys())
from ai21_chains.cli import app
try:
    app(["emulate", "--port", "x"])
except SystemExit:
    print(*sorted(name for name in sys.modules if name.startswith("ai21_chains.cli.")))
"""


def test_what_is_loaded_is_what_is_used() -> None:
    """One process sees it all: each takes two seconds to import LangChain."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    hosts, optional, commands = done.stdout.splitlines()

    assert hosts == "", "a host is loaded when it is used"
    assert optional == "", "model, hosts, documents and retrievers load no optional dependency"
    assert commands == "ai21_chains.cli._shared ai21_chains.cli.emulate", "one command"


def test_the_package_is_typed() -> None:
    assert (Path(ai21_chains.__file__).parent / "py.typed").exists()


def test_the_version_is_that_of_the_distribution() -> None:
    distribution = importlib.import_module("importlib.metadata").version("ai21-chains")

    assert distribution == ai21_chains.__version__
