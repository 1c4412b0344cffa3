"""Chains made from a configuration, and what is said of those that cannot be made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ai21_chains import Emulator
from ai21_chains.errors import ConfigurationError, DocumentError, MissingExtraError
from ai21_chains.serving._served_chains import chat_model_for, served_chains
from ai21_chains.serving.config import ChainConfig, Deployment, ServerConfig, load_config
from tests.serving.apps import ASKED, DOCUMENTS


def config(*chains: ChainConfig, **settings: Any) -> ServerConfig:
    deployments = (
        Deployment(name="mini", model="jamba-mini"),
        Deployment(name="large", model="ai21/jamba-large", timeout=9, max_retries=1),
    )
    return ServerConfig(
        **{"deployments": deployments, "chains": chains, "emulator": Emulator(), **settings}
    )


def made(kind: Any, **settings: Any) -> Any:
    return served_chains(config(ChainConfig(name="mine", kind=kind, **settings)))["mine"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, text in enumerate(DOCUMENTS):
        (tmp_path / f"{number}.txt").write_text(text)
    return tmp_path


def test_without_a_configuration_the_chains_are_there_that_need_none() -> None:
    chains = served_chains(load_config())

    assert sorted(chains) == ["contextual_answers", "grounded_qa", "grounding_check", "summarize"]
    assert chains["grounded_qa"].invoke(ASKED).status == "answered"


@pytest.mark.parametrize("kind", ["grounded_qa", "conversational_qa"])
def test_a_folder_is_answered_from(kind: str, folder: Path) -> None:
    answer = made(kind, documents=folder).invoke({"question": "When does it open?"})

    assert answer.answer == "The museum opens at ten. [1]"
    assert answer.citations[0].source.endswith("0.txt")


async def test_a_folder_is_answered_from_asynchronously(folder: Path) -> None:
    answer = await made("grounded_qa", documents=folder).ainvoke({"question": "When is it open?"})

    assert answer.status == "answered"


def test_options_are_those_of_the_factory() -> None:
    labels = {"opening": "When it is open", "dogs": ""}
    chain = made("classification", options={"labels": labels, "require_citation": False})

    assert chain.invoke("The museum opens at ten.").abstained in (True, False)
    assert (
        made("contextual_answers", options={"answer_not_in_context": "?"}).invoke(
            {"question": "Who was Napoleon?", "context": "Dogs must stay outside."}
        )
        == "?"
    )


def test_an_extraction_has_a_json_schema() -> None:
    schema = {
        "title": "Museum",
        "properties": {"opening": {"type": "string", "description": "When the museum opens"}},
        "required": ["opening"],
    }
    result = made("extraction", options={"schema": schema}).invoke({"documents": DOCUMENTS})

    assert result.value.model_dump(by_alias=True) == {"opening": "The museum opens at ten."}


WRONG = {
    "unknown option": (
        "summarize",
        {"options": {"word": 3}},
        "options: word is unknown; did you mean words?",
    ),
    "another option": (
        "grounding_check",
        {"options": {"language": "de"}},
        "options: language is unknown; there are none",
    ),
    "value": ("summarize", {"options": {"words": 0}}, "words must be a whole number from 1 on"),
    "choice": ("grounded_qa", {"options": {"order": "x"}}, "order must be one of"),
    "model": ("grounded_qa", {"options": {"model": "x"}}, "options: model is unknown"),
    "output": ("grounded_qa", {"options": {"output": "dict"}}, "options: output is unknown"),
    "no labels": ("classification", {}, "options: labels is missing"),
    "labels": ("classification", {"options": {"labels": []}}, "labels: there must be at least one"),
    "no schema": ("extraction", {}, "options: schema is missing"),
    "schema": ("extraction", {"options": {"schema": "x"}}, "schema must be a JSON Schema"),
    "empty schema": ("extraction", {"options": {"schema": {}}}, "options: schema: no JSON Schema"),
    "schema type": (
        "extraction",
        {"options": {"schema": {"properties": {"a": {"type": "x"}}}}},
        "a has the unknown type 'x'",
    ),
    "pattern": (
        "extraction",
        {"options": {"schema": {"properties": {"a": {"type": "string", "pattern": "("}}}}},
        "options: schema: ",
    ),
    "reference": (
        "extraction",
        {"options": {"schema": {"properties": {"a": {"$ref": "#/$defs/A"}}}}},
        "options: schema: ",
    ),
    "no documents": ("conversational_qa", {}, "documents is missing: a folder to answer from"),
    "no use": (
        "summarize",
        {"documents": Path(".")},
        "documents: such a chain gets them with each request",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_chain_that_cannot_be_made_is_named_in_one_line(name: str) -> None:
    kind, settings, reason = WRONG[name]

    with pytest.raises(ConfigurationError) as wrong:
        made(kind, **settings)

    assert str(wrong.value).startswith("chain 'mine': ")
    assert reason in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_folder_without_documents_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="chain 'mine': "):
        made("grounded_qa", documents=tmp_path)


def test_a_missing_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(MissingExtraError, match=r"chain 'mine': .*ai21-chains\[bm25\]"):
        made("grounded_qa", documents=folder)


def test_a_model_reaches_ai21_as_its_deployment_does() -> None:
    first = chat_model_for(config())
    large = chat_model_for(config(), "large")

    assert first.model == "jamba-mini"
    assert (large.model, large.timeout, large.max_retries) == ("jamba-large", 9, 1)
    assert large.invoke("Hi").content


def test_a_key_is_that_of_the_deployment() -> None:
    deployment = Deployment(name="mini", model="jamba-mini", api_key="mine")
    emulator = Emulator()
    model = chat_model_for(config(deployments=(deployment,), emulator=emulator))
    model.invoke("Hi")

    assert emulator.requests[0].headers["authorization"] == "Bearer mine"


@pytest.mark.parametrize("deployments", [(), None], ids=["none", "others"])
def test_a_model_that_is_not_served_is_an_error(deployments: Any) -> None:
    settings = {} if deployments is None else {"deployments": deployments}

    with pytest.raises(ConfigurationError, match="no model is called 'huge'; there are "):
        chat_model_for(config(**settings), "huge")
